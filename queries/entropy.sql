-- How sparse is attention, and at which level?
-- The entropy of effective attention and its parts, in nats: entropy = stain + slice + patch, where stain is H(stain),
-- slice is sum over stains of w_s H(slice|s), and patch is sum over slices of w_s w_k H(patch|s,k) (chain rule of
-- entropy). A ratio is a part over its greatest value, with the weights above it as they are: ln of the number of
-- stains, slices or patches; null where there is but one to choose from. Effective patches are 1 / sum(p^2);
-- max_entropy is ln n_patches.
-- needs: whole
-- grain: one row per run and case, highest error first
-- columns: case_id, true_class, outcome, error, n_patches, effective_patches, entropy, max_entropy, stain_entropy, slice_entropy, patch_entropy, ratio, stain_ratio, slice_ratio, patch_ratio, subset, run_id
-- shown: case_id, true_class, outcome, n_patches, effective_patches, stain_ratio, slice_ratio, patch_ratio

with weights as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        stain_attention::double as stain_weight,
        slice_attention::double as slice_weight,
        patch_attention::double as patch_weight,
        effective_attention::double as effective
    from attention
    join selection using (run_id, case_id)
),

-- Weights are stored as floats, whose sums are 1 to a few digits: with S their sum, H = ln S - sum(p ln p) / S.
of_slice as (
    select
        run_id,
        case_id,
        subset,
        stain,
        slice_idx,
        any_value(stain_weight) as stain_weight,
        any_value(slice_weight) as slice_weight,
        ln(sum(patch_weight))
        - sum(if(patch_weight > 0, patch_weight * ln(patch_weight), 0)) / sum(patch_weight) as patch_entropy,
        count(*) as patches,
        sum(effective) as effective_sum,
        sum(if(effective > 0, effective * ln(effective), 0)) as effective_logs,
        sum(effective * effective) as effective_squares
    from weights
    group by all
),

of_stain as (
    select
        run_id,
        case_id,
        subset,
        stain,
        any_value(stain_weight) as stain_weight,
        ln(sum(slice_weight))
        - sum(if(slice_weight > 0, slice_weight * ln(slice_weight), 0)) / sum(slice_weight) as slice_entropy,
        ln(count(*)) as slice_max,
        sum(slice_weight * patch_entropy) / sum(slice_weight) as patch_entropy,
        sum(slice_weight * ln(patches)) / sum(slice_weight) as patch_max,
        sum(patches) as patches,
        sum(effective_sum) as effective_sum,
        sum(effective_logs) as effective_logs,
        sum(effective_squares) as effective_squares
    from of_slice
    group by all
),

of_case as (
    select
        run_id,
        case_id,
        subset,
        sum(patches)::integer as n_patches,
        sum(effective_sum) ^ 2 / sum(effective_squares) as effective_patches,
        greatest(0, ln(sum(effective_sum)) - sum(effective_logs) / sum(effective_sum)) as entropy,
        ln(sum(patches)) as max_entropy,
        greatest(
            0,
            ln(sum(stain_weight))
            - sum(if(stain_weight > 0, stain_weight * ln(stain_weight), 0)) / sum(stain_weight)
        ) as stain_entropy,
        ln(count(*)) as stain_max,
        greatest(0, sum(stain_weight * slice_entropy) / sum(stain_weight)) as slice_entropy,
        sum(stain_weight * slice_max) / sum(stain_weight) as slice_max,
        greatest(0, sum(stain_weight * patch_entropy) / sum(stain_weight)) as patch_entropy,
        sum(stain_weight * patch_max) / sum(stain_weight) as patch_max
    from of_stain
    group by all
)

select
    case_id,
    true_class,
    outcome,
    error,
    n_patches,
    effective_patches,
    entropy,
    max_entropy,
    stain_entropy,
    slice_entropy,
    patch_entropy,
    case when max_entropy > 0 then least(1, entropy / max_entropy) end as ratio,
    case when stain_max > 0 then least(1, stain_entropy / stain_max) end as stain_ratio,
    case when slice_max > 0 then least(1, slice_entropy / slice_max) end as slice_ratio,
    case when patch_max > 0 then least(1, patch_entropy / patch_max) end as patch_ratio,
    of_case.subset,
    of_case.run_id
from of_case
join predictions_named using (run_id, case_id)
order by error desc, case_order nulls last, case_id, run_id
