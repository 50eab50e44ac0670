-- How a stain's weight divides over its slices, and how much of it the top slice takes.
-- Slices are ranked by weight within case and stain; even is the weight that slices of equal weight have, by_patches
-- the weight that patches of equal weight would give the slice. Top_share is the weight of the stain's top slice;
-- top_slices is how many have that weight, to six digits: among several there is no top one.
-- needs: whole
-- grain: one row per run, case, stain and slice, the highest weight of each stain first
-- columns: run_id, case_id, subset, true_class, outcome, stain, stain_attention, slice_rank, slice_idx, slice_name, slice_attention, even, by_patches, top_share, slice_patches, stain_slices, top_slices
-- shown: case_id, stain, stain_attention, slice_rank, slice_name, slice_attention, by_patches, slice_patches
-- told: stains.told_of_slices

with slices_of_case as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        slice_name,
        stain_attention,
        slice_attention,
        slice_patches
    from slice_weights
    join selection using (run_id, case_id)
    left join slices using (case_id, stain, slice_idx)
),

ranked as (
    select
        *,
        row_number() over (of_stain order by slice_attention desc, natural_order(slice_name), slice_idx) as slice_rank,
        count(*) over of_stain as stain_slices,
        max(slice_attention) over of_stain as top_share,
        slice_patches / sum(slice_patches) over of_stain as by_patches
    from slices_of_case
    window of_stain as (partition by run_id, case_id, stain)
),

counted as (
    select
        *,
        count(*) filter (where slice_attention >= top_share * (1 - 1e-6)) over (
            partition by run_id, case_id, stain
        ) as top_slices
    from ranked
)

select
    counted.run_id,
    case_id,
    counted.subset,
    true_class,
    outcome,
    stain,
    stain_attention,
    slice_rank,
    slice_idx,
    slice_name,
    slice_attention,
    1 / stain_slices as even,
    by_patches,
    top_share,
    slice_patches,
    stain_slices,
    top_slices
from counted
join predictions_named using (run_id, case_id)
left join stains using (stain)
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain, slice_rank
