-- Whether a slice's attention is a spike, a region or diffuse, and whether that goes with the outcome.
-- Spike: one patch holds half of it, or few lone ones hold it; region: a minority of patches that lie together;
-- diffuse: the rest; too few: a slice of fewer than 5 patches. The measures are of patch attention: the highest share,
-- the effective number of patches (1 over the sum of squares), the longest run above twice the mean in the order of the
-- patches' numbers with its chance under a random order, and Moran's I over the patches' places with its permutation
-- p-value (null without places). The rule and its thresholds stand in milstore/analysis/pattern.py.
-- grain: one row per run, case, stain and slice
-- columns: run_id, case_id, subset, true_class, outcome, stain, slice_idx, slice_name, slice_patches, slice_effective_attention, weights, xs, ys
-- then: pattern.classified

with slices_of_case as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        count(*) as slice_patches,
        any_value(stain_attention)::double * any_value(slice_attention)::double as slice_effective_attention,
        -- By their numbers, which come first.
        list_sort(list({'patch_idx': patch_idx, 'weight': patch_attention::double, 'x': x::double, 'y': y::double}))
            as of_slice
    from attention
    join selection using (run_id, case_id)
    left join patches using (case_id, stain, slice_idx, patch_idx)
    group by all
)

select
    slices_of_case.run_id,
    case_id,
    slices_of_case.subset,
    true_class,
    outcome,
    stain,
    slice_idx,
    slices.slice_name,
    slice_patches,
    slice_effective_attention,
    [patch.weight for patch in of_slice] as weights,
    [patch.x for patch in of_slice] as xs,
    [patch.y for patch in of_slice] as ys
from slices_of_case
join predictions_named using (run_id, case_id)
left join stains using (stain)
left join slices using (case_id, stain, slice_idx)
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain, natural_order(slice_name), slice_idx
