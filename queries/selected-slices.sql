-- Which slices weigh most in their case, over all cases.
-- A slice's effective attention is stain times slice attention, and sums to 1 over the slices of a case. Even is what it
-- would have if all slices of the case weighed the same: a case of few slices is in this list sooner.
-- grain: one row per run, case, stain and slice, the highest effective attention first
-- param n integer = 20 [1, 100000]: how many slices
-- columns: position, run_id, case_id, subset, true_class, outcome, error, stain, slice_idx, slice_name, effective_attention, stain_attention, slice_attention, even, slice_patches, case_slices

with slices_of_case as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        slice_effective_attention as effective_attention,
        stain_attention::double as stain_attention,
        slice_attention::double as slice_attention,
        slice_patches,
        count(*) over (partition by run_id, case_id) as case_slices
    from slice_weights
    join selection using (run_id, case_id)
),

ranked as (
    select
        slices_of_case.*,
        slice_name,
        row_number() over (
            order by
                effective_attention desc,
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
)

select
    position,
    ranked.run_id,
    case_id,
    ranked.subset,
    true_class,
    outcome,
    error,
    stain,
    slice_idx,
    slice_name,
    effective_attention,
    stain_attention,
    slice_attention,
    1 / case_slices as even,
    slice_patches,
    case_slices
from ranked
join predictions_named using (run_id, case_id)
where position <= $n::integer
order by position
