-- How a score runs over the patches of one slice.
-- In the order of the patches' numbers it is a spike, a region, or even. The score is a signed number that is no attention:
-- it has no share, and slice_mean_score is what the slice's patches have on average. Without stain or slice it is the case's
-- slice with the patch of the highest score (of that stain, of that name or number).
-- grain: one row per run and patch of the slice, in the order of patch_idx
-- param case text: the case
-- param score text: name of the score
-- param stain text = null: the stain; the slice of the highest score decides unless it is given
-- param slice text = null: the slice, by its slice_name (match_1) or its slice_idx (0)
-- columns: run_id, case_id, subset, true_class, pred_class, outcome, stain, slice_idx, slice_name, slice_patches, slice_mean_score, patch_idx, score, rank, case_patches, x, y, file
-- shown: patch_idx, score, slice_mean_score, rank, x, y

with fitting as (
    select *
    from slices_scored($score::text, $case::text, $stain::text, $slice::text)
),

highest as (
    select stain, slice_idx
    from fitting
    left join stains using (stain)
    order by highest_score desc, stain_order nulls last, stain, natural_order(slice_name), slice_idx
    limit 1
),

scored as (
    select ranked.*, selection.subset, slice_name, slice_patches, mean_score
    from scores_ranked($score::text) as ranked
    join selection using (run_id, case_id)
    join highest using (stain, slice_idx)
    join fitting using (run_id, case_id, stain, slice_idx)
    where case_id = $case::text
)

select
    scored.run_id,
    case_id,
    scored.subset,
    true_class,
    pred_class,
    outcome,
    stain,
    slice_idx,
    slice_name,
    slice_patches,
    mean_score as slice_mean_score,
    patch_idx,
    score,
    rank,
    scored.n_patches as case_patches,
    patches.x,
    patches.y,
    patches.file
from scored
join predictions_named using (run_id, case_id)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by run_id, patch_idx
