-- Which annotated regions attention falls in.
-- Regions are those that milstore ingest regions put on the patches; what lies in none is the row outside (annotated is then
-- false). Only slices that have a region count: their patches are annotated_patches, and what they hold of the case's
-- attention is annotated_attention. A patch in several regions counts in each, so shares of a case may sum to more than 1.
-- Times_even is attention_share over patch_share: 1 is what an even spread over these patches gives. In a class, region_cases
-- of class_cases have the region, and class_times_even is the median over them.
-- needs: whole
-- grain: one row per run, case and region; outside is the last
-- columns: run_id, case_id, subset, true_class, outcome, error, region, annotated, region_patches, region_attention, attention_share, patch_share, times_even, annotated_patches, annotated_attention, in_several, region_cases, class_cases, class_times_even, other_cases
-- shown: case_id, true_class, outcome, region, region_patches, patch_share, attention_share, times_even
-- told: regions.told

with annotated_slices as (
    select distinct case_id, stain, slice_idx
    from patch_regions
),

weights as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        patch_idx,
        effective_attention::double as weight
    from attention
    join selection using (run_id, case_id)
    join annotated_slices using (case_id, stain, slice_idx)
),

patches_in as (
    select
        weights.*,
        coalesce(region, 'outside') as region,
        region is not null as annotated
    from weights
    left join patch_regions using (case_id, stain, slice_idx, patch_idx)
),

of_case as (
    select run_id, case_id, count(*) as annotated_patches, sum(weight) as annotated_attention
    from weights
    group by all
),

several as (
    select run_id, case_id, count(*) as in_several
    from (
        select run_id, case_id
        from patches_in
        group by run_id, case_id, stain, slice_idx, patch_idx
        having count(*) > 1
    )
    group by all
),

regions_of_case as (
    select
        run_id,
        case_id,
        subset,
        region,
        annotated,
        count(*) as region_patches,
        sum(weight) as region_attention
    from patches_in
    group by all
),

compared as (
    select
        regions_of_case.*,
        annotated_patches,
        annotated_attention,
        coalesce(in_several, 0) as in_several,
        -- Where the annotated slices have no attention at all, there is nothing to share.
        region_attention / nullif(annotated_attention, 0) as attention_share,
        region_patches / annotated_patches as patch_share
    from regions_of_case
    join of_case using (run_id, case_id)
    left join several using (run_id, case_id)
),

described as (
    select
        compared.*,
        attention_share / patch_share as times_even,
        true_label,
        true_class,
        outcome,
        error,
        case_order
    from compared
    join predictions_named using (run_id, case_id)
),

classes_counted as (
    select true_label, count(distinct (run_id, case_id)) as class_cases
    from described
    group by all
)

select
    run_id,
    case_id,
    subset,
    true_class,
    outcome,
    error,
    region,
    annotated,
    region_patches,
    region_attention,
    attention_share,
    patch_share,
    times_even,
    annotated_patches,
    annotated_attention,
    in_several,
    count(*) over of_class as region_cases,
    class_cases,
    median(times_even) over of_class as class_times_even,
    (select count(*) from selection) - (select count(*) from of_case) as other_cases
from described
join classes_counted on described.true_label is not distinct from classes_counted.true_label
window of_class as (partition by described.true_label, region, annotated)
order by case_order nulls last, case_id, run_id, annotated desc, natural_order(region)
