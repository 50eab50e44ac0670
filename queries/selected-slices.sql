-- Which slices weigh most in their case, over all cases.
-- A slice's effective attention is stain x slice attention, and sums to 1 over the slices of a case. Even is what it
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
        any_value(stain_attention)::double as stain_attention,
        any_value(slice_attention)::double as slice_attention,
        count(*) as slice_patches
    from attention
    join selection using (run_id, case_id)
    group by all
),

weighed as (
    select
        *,
        stain_attention * slice_attention as effective_attention,
        count(*) over (partition by run_id, case_id) as case_slices
    from slices_of_case
),

ranked as (
    select
        weighed.*,
        row_number() over (
            order by
                effective_attention desc,
                case_order nulls last,
                case_id,
                run_id,
                stain_order nulls last,
                stain,
                slice_idx
        ) as position
    from weighed
    left join cases using (case_id)
    left join stains using (stain)
)

select
    position,
    ranked.run_id,
    case_id,
    ranked.subset,
    coalesce(classes.class_name, 'class ' || true_label) as true_class,
    if(pred_label = true_label, 'right', 'wrong') as outcome,
    error,
    stain,
    slice_idx,
    slices.slice_name,
    effective_attention,
    stain_attention,
    slice_attention,
    1 / case_slices as even,
    slice_patches,
    case_slices
from ranked
join predictions using (run_id, case_id)
left join classes on classes.label = true_label
left join slices using (case_id, stain, slice_idx)
where position <= $n::integer
order by position
