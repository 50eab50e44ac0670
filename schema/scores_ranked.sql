-- The patches that have a score, ranked by it within run and case: 1 is the highest value, and among equal ones the order of
-- stain, slice_idx and patch_idx decides. A score is a signed number that is no attention. N_patches are those of the case that have
-- it.
create or replace macro scores_ranked(asked_name) as table
select
    run_id,
    case_id,
    stain,
    slice_idx,
    patch_idx,
    value as score,
    row_number() over (
        partition by run_id, case_id
        order by value desc, stain, slice_idx, patch_idx
    ) as rank,
    count(*) over (partition by run_id, case_id) as n_patches
from scores
where name = asked_name;
