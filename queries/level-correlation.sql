-- Which level decides what is attended to: patch, slice or stain?
-- Correlation of each level's attention with effective attention over a case's patches, by Pearson and by Spearman
-- (ties share their mean rank); the columns `_all` say the same of all patches of all cases at once. Where a level has
-- nothing to correlate it is null, and `undefined` says why.
-- grain: one row per run, case and level
-- columns: case_id, true_class, outcome, error, n_patches, level, pearson, spearman, undefined, pearson_all, spearman_all, subset, run_id

with weights as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        slice_idx,
        n_patches,
        effective_attention::double as effective,
        unnest(['patch', 'slice', 'stain']) as level,
        unnest([patch_attention, slice_attention, stain_attention])::double as weight
    from attention
    join selection using (run_id, case_id)
),

ranked as (
    select
        *,
        rank() over (partition by run_id, case_id, level order by weight)
        + (count(*) over (partition by run_id, case_id, level, weight) - 1) / 2 as weight_rank,
        rank() over (partition by run_id, case_id, level order by effective)
        + (count(*) over (partition by run_id, case_id, level, effective) - 1) / 2 as effective_rank,
        rank() over (partition by level order by weight)
        + (count(*) over (partition by level, weight) - 1) / 2 as weight_rank_all,
        rank() over (partition by level order by effective)
        + (count(*) over (partition by level, effective) - 1) / 2 as effective_rank_all
    from weights
),

-- Over weights that are all the same a correlation is undefined, whatever rounding makes of it.
of_case as (
    select
        run_id,
        case_id,
        subset,
        level,
        any_value(n_patches) as n_patches,
        count(distinct stain) as stains,
        count(distinct (stain, slice_idx)) as slices,
        min(weight) < max(weight) as weight_varies,
        weight_varies and min(effective) < max(effective) as both_vary,
        if(both_vary, least(1, greatest(-1, corr(weight, effective))), null) as pearson,
        if(both_vary, least(1, greatest(-1, corr(weight_rank, effective_rank))), null) as spearman
    from ranked
    group by run_id, case_id, subset, level
),

explained as (
    select
        *,
        case
            when both_vary then null
            when n_patches = 1 then 'one patch'
            when level = 'stain' and stains = 1 then 'one stain'
            when level = 'slice' and slices = stains then 'one slice a stain'
            when level = 'patch' and slices = n_patches then 'one patch a slice'
            when weight_varies then 'effective attention is even'
            else level || ' attention is even'
        end as undefined
    from of_case
),

of_all as (
    select
        level,
        min(weight) < max(weight) and min(effective) < max(effective) as both_vary,
        if(both_vary, least(1, greatest(-1, corr(weight, effective))), null) as pearson_all,
        if(both_vary, least(1, greatest(-1, corr(weight_rank_all, effective_rank_all))), null) as spearman_all
    from ranked
    group by level
)

select
    case_id,
    coalesce(true_classes.class_name, 'class ' || true_label) as true_class,
    if(pred_label = true_label, 'right', 'wrong') as outcome,
    error,
    explained.n_patches,
    explained.level,
    pearson,
    spearman,
    undefined,
    pearson_all,
    spearman_all,
    explained.subset,
    explained.run_id
from explained
join of_all using (level)
join predictions using (run_id, case_id)
left join classes as true_classes on true_classes.label = true_label
left join cases using (case_id)
order by case_order nulls last, case_id, run_id, level
