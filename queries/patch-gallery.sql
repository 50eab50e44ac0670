-- What the most and the least attended patches of a case look like.
-- Both ends of the ranking by effective attention; in a case of fewer than 2 n patches the top goes first, and no patch
-- is shown twice. An even share is one over the case's patches: times_even says how many times as much the patch has.
-- needs: top
-- grain: one row per run and patch, the top ones first, then the bottom ones from the lowest up
-- param case text: the case
-- param n integer = 8 [1, 100]: patches of each end
-- columns: run_id, case_id, subset, true_class, pred_class, outcome, end, position, rank, stain, slice_idx, slice_name, patch_idx, effective_attention, times_even, case_patches, file
-- shown: end, rank, stain, slice_name, patch_idx, effective_attention, times_even

with ends as (
    select
        attention.*,
        selection.subset,
        if(rank <= $n::integer, 'top', 'bottom') as "end",
        if(rank <= $n::integer, rank, n_patches + 1 - rank) as position
    from attention
    join selection using (run_id, case_id)
    where case_id = $case::text
    and (rank <= $n::integer or n_patches + 1 - rank <= $n::integer)
)

select
    ends.run_id,
    case_id,
    ends.subset,
    true_class,
    pred_class,
    outcome,
    "end",
    position,
    rank,
    stain,
    slice_idx,
    slices.slice_name,
    patch_idx,
    effective_attention,
    effective_attention::double * ends.n_patches as times_even,
    ends.n_patches as case_patches,
    patches.file
from ends
join predictions_named using (run_id, case_id)
left join slices using (case_id, stain, slice_idx)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by run_id, "end" desc, position
