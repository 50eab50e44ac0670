-- Which level decides what is attended to: patch, slice or stain?
-- Correlation of each level's attention with effective attention over a case's patches, by Pearson and by Spearman
-- (ties share their mean rank); the columns `_all` say the same of all patches of all cases at once. Where a level has
-- nothing to correlate it is null, and `undefined` says why.
-- needs: whole
-- grain: one row per run, case and level
-- columns: case_id, true_class, outcome, error, n_patches, level, pearson, spearman, undefined, pearson_all, spearman_all, subset, run_id
-- shown: case_id, true_class, outcome, level, pearson, spearman, undefined

with cases_asked as (
    select *, row_number() over (order by run_id, case_id) as case_number
    from selection
),

weights as (
    select
        case_number,
        stain,
        slice_idx,
        attention.n_patches,
        patch_attention as patch_weight,
        slice_attention as slice_weight,
        stain_attention as stain_weight,
        effective_attention as effective
    from attention
    join cases_asked using (run_id, case_id)
),

-- Ranks are over all patches, case after case: within a case they are its own plus what stands before it, which no
-- correlation sees. One sort of all is much quicker than one for each case.
ranked as (
    select
        *,
        rank() over by_patch + (count(*) over (by_patch range current row) - 1) / 2 as patch_rank,
        rank() over by_effective + (count(*) over (by_effective range current row) - 1) / 2 as effective_rank,
        rank() over by_patch_of_all + (count(*) over (by_patch_of_all range current row) - 1) / 2 as patch_rank_all,
        rank() over by_effective_of_all
        + (count(*) over (by_effective_of_all range current row) - 1) / 2 as effective_rank_all
    from weights
    window
        by_patch as (order by case_number, patch_weight),
        by_effective as (order by case_number, effective),
        by_patch_of_all as (order by patch_weight),
        by_effective_of_all as (order by effective)
),

-- All patches of a slice have its weight and its stain's: their rank follows from the number of patches.
slices_of_case as (
    select
        case_number,
        stain,
        slice_idx,
        any_value(slice_weight) as slice_weight,
        any_value(stain_weight) as stain_weight,
        count(*) as patches
    from weights
    group by all
),

slices_ranked as (
    select
        case_number,
        stain,
        slice_idx,
        sum(patches) over by_slice - sum(patches) over (by_slice range current row) / 2 as slice_rank,
        sum(patches) over by_stain - sum(patches) over (by_stain range current row) / 2 as stain_rank,
        sum(patches) over by_slice_of_all - sum(patches) over (by_slice_of_all range current row) / 2 as slice_rank_all,
        sum(patches) over by_stain_of_all - sum(patches) over (by_stain_of_all range current row) / 2 as stain_rank_all
    from slices_of_case
    window
        by_slice as (order by case_number, slice_weight),
        by_stain as (order by case_number, stain_weight),
        by_slice_of_all as (order by slice_weight),
        by_stain_of_all as (order by stain_weight)
),

correlated as (
    select *
    from ranked
    join slices_ranked using (case_number, stain, slice_idx)
),

-- Of each case, and (where case_number is null) of all at once: each has its own ranks, the others mean nothing there.
-- Over weights that are all the same a correlation is undefined, whatever rounding makes of it.
correlations as (
    select
        case_number,
        any_value(n_patches) as n_patches,
        min(effective) < max(effective) as effective_varies,
        [
            {
                'level': 'patch',
                'weight_varies': min(patch_weight) < max(patch_weight),
                'pearson': corr(patch_weight, effective),
                'spearman': corr(patch_rank, effective_rank),
                'spearman_all': corr(patch_rank_all, effective_rank_all)
            },
            {
                'level': 'slice',
                'weight_varies': min(slice_weight) < max(slice_weight),
                'pearson': corr(slice_weight, effective),
                'spearman': corr(slice_rank, effective_rank),
                'spearman_all': corr(slice_rank_all, effective_rank_all)
            },
            {
                'level': 'stain',
                'weight_varies': min(stain_weight) < max(stain_weight),
                'pearson': corr(stain_weight, effective),
                'spearman': corr(stain_rank, effective_rank),
                'spearman_all': corr(stain_rank_all, effective_rank_all)
            }
        ] as levels
    from correlated
    group by grouping sets ((case_number), ())
),

correlations_of_level as (
    select * exclude (levels), unnest(levels, recursive := true)
    from correlations
),

slices_counted as (
    select case_number, count(distinct stain) as stains, count(*) as slices
    from slices_of_case
    group by case_number
),

explained as (
    select
        *,
        case
            when weight_varies and effective_varies then null
            when n_patches = 1 then 'one patch'
            when level = 'stain' and stains = 1 then 'one stain'
            when level = 'slice' and slices = stains then 'one slice a stain'
            when level = 'patch' and slices = n_patches then 'one patch a slice'
            when weight_varies then 'effective attention is even'
            else level || ' attention is even'
        end as undefined
    from correlations_of_level
    join slices_counted using (case_number)
),

of_all as (
    select level, weight_varies and effective_varies as defined, pearson, spearman_all
    from correlations_of_level
    where case_number is null
)

select
    case_id,
    true_class,
    outcome,
    error,
    explained.n_patches,
    explained.level,
    if(undefined is null, least(1, greatest(-1, explained.pearson)), null) as pearson,
    if(undefined is null, least(1, greatest(-1, spearman)), null) as spearman,
    undefined,
    if(of_all.defined, least(1, greatest(-1, of_all.pearson)), null) as pearson_all,
    if(of_all.defined, least(1, greatest(-1, of_all.spearman_all)), null) as spearman_all,
    cases_asked.subset,
    run_id
from explained
join of_all using (level)
join cases_asked using (case_number)
join predictions_named using (run_id, case_id)
order by case_order nulls last, case_id, run_id, explained.level
