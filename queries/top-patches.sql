-- Which stains and slices a case's most attended patches come from.
-- The top patches of a case are the greatest(1, floor(n * pct / 100)) patches of highest effective attention. Lift is
-- a slice's share of the top patches over its share of all patches: 1 is what an even spread would give.
-- grain: one row per run, case, stain and slice
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- param top integer = null [1, ]: number of top patches, in place of a share
-- columns: run_id, case_id, subset, true_label, pred_label, stain, slice_idx, top_patches, slice_patches, lift, stain_top_patches, stain_patches, stain_lift, case_top_patches, case_patches
-- report: top_patches.report

with slices_of_case as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        any_value(n_patches) as case_patches,
        count(*) as slice_patches,
        count(*) filter (
            where rank <= coalesce($top::integer, greatest(1, floor(n_patches * $pct::double / 100)))
        ) as top_patches
    from attention
    join selection using (run_id, case_id)
    group by all
),

with_parents as (
    select
        *,
        sum(top_patches) over (partition by run_id, case_id, stain)::bigint as stain_top_patches,
        sum(slice_patches) over (partition by run_id, case_id, stain)::bigint as stain_patches,
        sum(top_patches) over (partition by run_id, case_id)::bigint as case_top_patches
    from slices_of_case
)

select
    with_parents.run_id,
    with_parents.case_id,
    with_parents.subset,
    predictions.true_label,
    predictions.pred_label,
    with_parents.stain,
    with_parents.slice_idx,
    with_parents.top_patches,
    with_parents.slice_patches,
    (with_parents.top_patches * case_patches) / (case_top_patches * slice_patches) as lift,
    stain_top_patches,
    stain_patches,
    (stain_top_patches * case_patches) / (case_top_patches * stain_patches) as stain_lift,
    case_top_patches,
    case_patches
from with_parents
join predictions using (run_id, case_id)
left join cases using (case_id)
left join stains using (stain)
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain, slice_idx
