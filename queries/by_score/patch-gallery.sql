-- What a case's patches of the highest and the lowest score look like.
-- Both ends of the ranking by score, of the case or of the stain or slice that is given; among fewer than 2 n patches the top
-- goes first, and no patch is shown twice. The score is a signed number that is no attention: it has no share. Tied are patches
-- whose score, to six digits, is that of the next patch, which their end no longer holds: among equals names decide.
-- grain: one row per run and patch, the top ones first, then the bottom ones from the lowest up
-- param case text: the case
-- param score text: name of the score
-- param n integer = 8 [1, 100]: patches of each end
-- param stain text = null: only patches of this stain
-- param slice text = null: only patches of the slice of this slice_name (match_1) or slice_idx (0)
-- columns: run_id, case_id, subset, true_class, pred_class, outcome, end, position, rank, stain, slice_idx, slice_name, patch_idx, score, case_patches, file, tied
-- shown: end, rank, stain, slice_name, patch_idx, score
-- told: patch_lists.told

with fitting as (
    select
        ranked.*,
        selection.subset,
        slice_name,
        row_number() over (partition by run_id order by rank) as from_top,
        row_number() over (partition by run_id order by rank desc) as from_bottom
    from scores_ranked($score::text) as ranked
    join selection using (run_id, case_id)
    join slices_scored($score::text, $case::text, $stain::text, $slice::text)
        using (run_id, case_id, stain, slice_idx)
    where case_id = $case::text
),

-- With the next patch of each end; the top goes first where the ends meet.
ends as (
    select *, 'top' as "end", from_top as position
    from fitting
    where from_top <= $n::integer + 1
    union all
    select *, 'bottom', from_bottom
    from fitting
    where from_bottom <= $n::integer + 1 and from_top > $n::integer
),

compared as (
    select
        *,
        max(score) filter (where position = $n::integer + 1) over (partition by run_id, "end") as next_score
    from ends
    qualify position <= $n::integer
)

select
    compared.run_id,
    case_id,
    compared.subset,
    true_class,
    pred_class,
    outcome,
    "end",
    position,
    rank,
    stain,
    slice_idx,
    slice_name,
    patch_idx,
    score,
    compared.n_patches as case_patches,
    patches.file,
    same_to_six_digits(score, next_score) as tied
from compared
join predictions_named using (run_id, case_id)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by run_id, "end" desc, position
