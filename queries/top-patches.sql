-- Which stains and slices a case's most attended patches come from.
-- The top patches of a case are the greatest(1, floor(n * pct / 100)) patches of highest effective attention. Lift is
-- a slice's share of the top patches over its share of all patches: 1 is what an even spread would give.
-- grain: one row per run, case, stain and slice
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- param top integer = null [1, ]: number of top patches, in place of a share
-- columns: run_id, case_id, subset, true_label, pred_label, stain, slice_idx, slice_name, top_patches, slice_patches, lift, stain_top_patches, stain_patches, stain_lift, case_top_patches, case_patches
-- report: top_patches.report

with top_of_slice as (
    select run_id, case_id, stain, slice_idx, count(*) as top_patches
    from attention
    where
        rank <= coalesce($top::integer, top_count(n_patches, $pct::double))
        -- The same for the largest case: a number that is known before the file is read, so that most rows are skipped.
        and rank <= coalesce(
            $top::integer, top_count(coalesce(getvariable('largest_case'), 2147483647), $pct::double)::integer
        )
    group by all
),

slices_of_case as (
    select run_id, case_id, stain, slice_idx, coalesce(top_patches, 0) as top_patches, evaluated as slice_patches
    from coverage
    join selection using (run_id, case_id)
    left join top_of_slice using (run_id, case_id, stain, slice_idx)
    where evaluated > 0
),

stains_of_case as (
    select run_id, case_id, stain, sum(top_patches)::bigint as stain_top_patches, sum(slice_patches)::bigint as stain_patches
    from slices_of_case
    group by all
),

cases_asked as (
    select run_id, case_id, sum(stain_top_patches)::bigint as case_top_patches, sum(stain_patches)::bigint as case_patches
    from stains_of_case
    group by all
),

stains_described as (
    select *
    from stains_of_case
    join cases_asked using (run_id, case_id)
    join selection using (run_id, case_id)
    join predictions using (run_id, case_id)
    left join cases using (case_id)
    left join stains using (stain)
)

select
    run_id,
    case_id,
    stains_described.subset,
    true_label,
    pred_label,
    stain,
    slice_idx,
    slice_name,
    top_patches,
    slice_patches::bigint as slice_patches,
    (top_patches * case_patches) / (case_top_patches * slice_patches) as lift,
    stain_top_patches,
    stain_patches,
    (stain_top_patches * case_patches) / (case_top_patches * stain_patches) as stain_lift,
    case_top_patches,
    case_patches
from slices_of_case
join stains_described using (run_id, case_id, stain)
left join slices using (case_id, stain, slice_idx)
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain, natural_order(slice_name), slice_idx
