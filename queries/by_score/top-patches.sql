-- Which stains and slices a case's patches of highest score come from.
-- The top patches of a case are the greatest(1, floor(n * pct / 100)) patches of the highest score among the n that have it. The
-- score is a signed number that is no attention: it has no share, and case_cut_score is the lowest score of a top patch. Lift
-- is a slice's share of the top patches over its share of all patches: 1 is what an even spread would give. Tied are top
-- patches whose score, to six digits, is that of a patch left out: names decide which of these are counted, so lift shares
-- their places among all that are equal.
-- grain: one row per run, case, stain and slice
-- param score text: name of the score
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- param top integer = null [1, ]: number of top patches, in place of a share
-- columns: run_id, case_id, subset, true_label, pred_label, stain, slice_idx, slice_name, top_patches, slice_patches, highest_score, mean_score, lift, stain_top_patches, stain_patches, stain_lift, case_top_patches, case_patches, case_highest_score, case_cut_score, tied_patches, case_tied_patches
-- shown: case_id, stain, slice_name, top_patches, slice_patches, highest_score, lift, stain_lift
-- told: top_patches.told
-- report: top_patches.report

with scored as (
    select ranked.*, coalesce($top::integer, top_count(n_patches, $pct::double)) as cut
    from scores_ranked($score::text) as ranked
    join selection using (run_id, case_id)
),

cases_asked as (
    select
        run_id,
        case_id,
        count(*) as case_patches,
        count(*) filter (where rank <= cut) as case_top_patches,
        max(score) as case_highest_score,
        min(score) filter (where rank <= cut) as case_cut_score,
        max(score) filter (where rank > cut) as next_score,
        -- Six digits.
        1e-6 * greatest(abs(case_cut_score), abs(next_score)) as alike
    from scored
    group by run_id, case_id
),

marked as (
    select
        scored.*,
        rank <= cut as is_top,
        coalesce(
            case_cut_score - next_score <= alike and score between next_score - alike and case_cut_score + alike, false
        ) as is_equal
    from scored
    join cases_asked using (run_id, case_id)
),

slices_counted as (
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        count(*) as slice_patches,
        count(*) filter (where is_top) as top_patches,
        count(*) filter (where is_equal) as equal_patches,
        count(*) filter (where is_equal and is_top) as tied_patches,
        max(score) as highest_score,
        avg(score) as mean_score
    from marked
    group by run_id, case_id, stain, slice_idx
),

places_shared as (
    select
        *,
        sum(tied_patches) over of_case as case_tied_patches,
        -- Places that are tied for, shared among all patches that are equal.
        top_patches - tied_patches + if(
            sum(tied_patches) over of_case > 0,
            sum(tied_patches) over of_case * equal_patches / sum(equal_patches) over of_case,
            0
        ) as shared_top
    from slices_counted
    window of_case as (partition by run_id, case_id)
),

stains_counted as (
    select
        *,
        sum(top_patches) over of_stain as stain_top_patches,
        sum(slice_patches) over of_stain as stain_patches,
        sum(shared_top) over of_stain as stain_shared_top
    from places_shared
    window of_stain as (partition by run_id, case_id, stain)
)

select
    run_id,
    case_id,
    selection.subset,
    true_label,
    pred_label,
    stain,
    slice_idx,
    slice_name,
    top_patches,
    slice_patches,
    highest_score,
    mean_score,
    (shared_top * case_patches) / (case_top_patches * slice_patches) as lift,
    stain_top_patches::bigint as stain_top_patches,
    stain_patches::bigint as stain_patches,
    (stain_shared_top * case_patches) / (case_top_patches * stain_patches) as stain_lift,
    case_top_patches,
    case_patches,
    case_highest_score,
    case_cut_score,
    tied_patches,
    case_tied_patches::bigint as case_tied_patches
from stains_counted
join cases_asked using (run_id, case_id)
join selection using (run_id, case_id)
join predictions using (run_id, case_id)
left join cases using (case_id)
left join stains using (stain)
left join slices using (case_id, stain, slice_idx)
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain, natural_order(slice_name), slice_idx
