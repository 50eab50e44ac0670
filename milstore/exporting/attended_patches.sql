-- What a run's attention gave to each patch, and where the patch lies.
-- grain: one row per run, case and patch, the most attended first
-- param pct double = 100 [0, 100]: only the most attended patches of each case, in percent
-- columns: run_id, case_id, stain, slice_idx, slice_name, slide_id, patch_idx, x, y, width, height, unit, stain_attention, slice_attention, patch_attention, effective_attention, times_even, rank, n_patches

select
    attention.run_id,
    case_id,
    stain,
    slice_idx,
    slices.slice_name,
    slices.slide_id,
    patch_idx,
    patches.x,
    patches.y,
    patches.width,
    patches.height,
    patches.unit,
    stain_attention,
    slice_attention,
    patch_attention,
    effective_attention,
    effective_attention::double * attention.n_patches as times_even,
    rank,
    attention.n_patches
from attention
join selection using (run_id, case_id)
left join cases using (case_id)
left join slices using (case_id, stain, slice_idx)
left join patches using (case_id, stain, slice_idx, patch_idx)
where rank <= top_count(attention.n_patches, $pct::double)
order by case_order nulls last, case_id, run_id, rank
