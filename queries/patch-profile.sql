-- How attention runs over the patches of one slice.
-- In the order of the patches' numbers it is a spike, a region, or even.
-- Patch attention sums to 1 within the slice; uniform is the even share, one over the slice's patches. Without stain or
-- slice it is the case's slice of highest stain times slice attention (of that stain, of that name or number).
-- needs: whole
-- scores: yes
-- grain: one row per run and patch of the slice, in the order of patch_idx
-- param case text: the case
-- param stain text = null: the stain; the heaviest slice decides unless it is given
-- param slice text = null: the slice, by its slice_name (match_1) or its slice_idx (0); the heaviest unless it is given
-- columns: run_id, case_id, subset, true_class, pred_class, outcome, stain, slice_idx, slice_name, slice_patches, slice_effective_attention, patch_idx, patch_attention, uniform, effective_attention, rank, case_patches, x, y, file
-- shown: patch_idx, patch_attention, uniform, effective_attention, rank, x, y

with fitting as (
    select *
    from slices_asked($case::text, $stain::text, $slice::text)
),

heaviest as (
    select stain, slice_idx
    from fitting
    left join stains using (stain)
    order by
        slice_effective_attention desc,
        stain_order nulls last,
        stain,
        natural_order(slice_name),
        slice_idx
    limit 1
),

weights as (
    select attention.*, selection.subset, slice_name, slice_patches, slice_effective_attention
    from attention
    join selection using (run_id, case_id)
    join heaviest using (stain, slice_idx)
    join fitting using (run_id, case_id, stain, slice_idx)
    where case_id = $case::text
)

select
    weights.run_id,
    case_id,
    weights.subset,
    true_class,
    pred_class,
    outcome,
    stain,
    slice_idx,
    slice_name,
    slice_patches,
    slice_effective_attention,
    patch_idx,
    patch_attention,
    1 / slice_patches as uniform,
    effective_attention,
    rank,
    weights.n_patches as case_patches,
    patches.x,
    patches.y,
    patches.file
from weights
join predictions_named using (run_id, case_id)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by run_id, patch_idx
