-- Which slices have the patch of highest score, over all cases.
-- A slice stands where its highest patch does, beside the mean and the lowest score of its patches. The score is a signed
-- number that is no attention: it has no share, so a slice has no weight in its case, and scores of several cases, or of
-- several runs, are on one scale only if their model gives them so. Tied are slices whose highest score, to six digits, is
-- that of a slice that is not listed: among equals the order of cases and names decides.
-- grain: one row per run, case, stain and slice, the highest score first
-- param score text: name of the score
-- param n integer = 20 [1, 100000]: how many slices
-- columns: position, run_id, case_id, subset, true_class, outcome, error, stain, slice_idx, slice_name, highest_score, mean_score, lowest_score, slice_patches, case_slices, tied
-- shown: position, case_id, true_class, outcome, stain, slice_name, highest_score
-- told: patch_lists.told_of_slices

with slices_of_case as (
    select
        run_id,
        case_id,
        any_value(selection.subset) as subset,
        stain,
        slice_idx,
        max(score) as highest_score,
        avg(score) as mean_score,
        min(score) as lowest_score,
        count(*) as slice_patches,
        count(*) over (partition by run_id, case_id) as case_slices
    from scores_ranked($score::text)
    join selection using (run_id, case_id)
    group by run_id, case_id, stain, slice_idx
),

ranked as (
    select
        slices_of_case.*,
        slice_name,
        row_number() over (
            order by
                highest_score desc,
                case_order nulls last,
                case_id,
                run_id,
                stain_order nulls last,
                stain,
                natural_order(slice_name),
                slice_idx
        ) as position
    from slices_of_case
    left join cases using (case_id)
    left join stains using (stain)
    left join slices using (case_id, stain, slice_idx)
),

compared as (
    select *, max(highest_score) filter (where position = $n::integer + 1) over () as next_score
    from ranked
    qualify position <= $n::integer
)

select
    position,
    compared.run_id,
    case_id,
    compared.subset,
    true_class,
    outcome,
    error,
    stain,
    slice_idx,
    slice_name,
    highest_score,
    mean_score,
    lowest_score,
    slice_patches,
    case_slices,
    same_to_six_digits(highest_score, next_score) as tied
from compared
join predictions_named using (run_id, case_id)
order by position
