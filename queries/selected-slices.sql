-- Which slices weigh most in their case, over all cases.
-- A slice's effective attention is stain times slice attention, and sums to 1 over the slices of a case. Even is what it
-- would have if all slices of the case weighed the same: a case of few slices is in this list sooner. Tied are slices whose
-- attention, to six digits, is that of a slice that is not listed: among equals the order of cases and names decides.
-- needs: whole
-- scores: yes
-- grain: one row per run, case, stain and slice, the highest effective attention first
-- param n integer = 20 [1, 100000]: how many slices
-- columns: position, run_id, case_id, subset, true_class, outcome, error, stain, slice_idx, slice_name, effective_attention, stain_attention, slice_attention, even, slice_patches, case_slices, tied
-- shown: position, case_id, true_class, outcome, stain, slice_name, effective_attention, even
-- told: patch_lists.told_of_slices

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
),

compared as (
    select *, max(effective_attention) filter (where position = $n::integer + 1) over () as next_weight
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
    effective_attention,
    stain_attention,
    slice_attention,
    1 / case_slices as even,
    slice_patches,
    case_slices,
    same_to_six_digits(effective_attention, next_weight) as tied
from compared
join predictions_named using (run_id, case_id)
order by position
