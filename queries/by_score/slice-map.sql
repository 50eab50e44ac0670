-- Where on its slices a case's score is high or low.
-- The patches of all slices of the case, or of the stain or slice that is given, at their places, and the shade that each
-- is painted in: the score itself, about 0, or by rank: from 0 for the case's lowest score to 1 for its highest (ties share
-- one). Lowest_shade and highest_shade are those of the whole case, whichever slices are asked for: one scale for all. The
-- score is a signed number that is no attention: it has no share. Outlined are the case's greatest(1, floor(n * 5 / 100))
-- patches of the highest score; outlined_patches is how many these are. Tied are those of them whose score, to six digits,
-- is that of a patch that is not outlined: among equals names decide.
-- grain: one row per run and patch, by stain and slice, in the order of patch_idx
-- param case text: the case
-- param score text: name of the score
-- param stain text = null: only slices of this stain
-- param slice text = null: only the slice of this slice_name (match_1) or slice_idx (0)
-- param scale text = score: score or rank
-- columns: run_id, case_id, subset, true_class, pred_class, outcome, stain, slice_idx, slice_name, slice_patches, slice_highest_score, slice_mean_score, patch_idx, score, rank, outlined, tied, shade, lowest_shade, highest_shade, outlined_patches, case_slices, case_patches, x, y, width, height, file
-- shown: stain, slice_name, patch_idx, score, rank, outlined
-- told: patch_lists.told_of_map

with asked as (
    select case lower($scale::text)
        when 'rank' then 'rank'
        when 'score' then 'score'
        else error('scale is ''' || $scale::text || ''': use score or rank')
    end as scale
),

shaded as (
    select
        ranked.*,
        selection.subset,
        rank <= top_count(n_patches, 5) as outlined,
        if(scale = 'rank', percent_rank() over (partition by run_id order by score), score) as shade
    from scores_ranked($score::text) as ranked
    join selection using (run_id, case_id)
    cross join asked
    where case_id = $case::text
),

described as (
    select
        *,
        min(shade) over of_run as lowest_shade,
        max(shade) over of_run as highest_shade,
        count(*) filter (where outlined) over of_run as outlined_patches,
        max(score) filter (where not outlined) over of_run as next_score
    from shaded
    window of_run as (partition by run_id)
)

select
    described.run_id,
    case_id,
    described.subset,
    true_class,
    pred_class,
    outcome,
    stain,
    slice_idx,
    slice_name,
    slice_patches,
    highest_score as slice_highest_score,
    mean_score as slice_mean_score,
    patch_idx,
    score,
    rank,
    outlined,
    outlined and same_to_six_digits(score, next_score) as tied,
    shade,
    lowest_shade,
    highest_shade,
    outlined_patches,
    case_slices,
    described.n_patches as case_patches,
    patches.x,
    patches.y,
    patches.width,
    patches.height,
    patches.file
from described
join slices_scored($score::text, $case::text, $stain::text, $slice::text)
    using (run_id, case_id, stain, slice_idx)
join predictions_named using (run_id, case_id)
left join stains using (stain)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by run_id, stain_order nulls last, stain, natural_order(slice_name), slice_idx, patch_idx
