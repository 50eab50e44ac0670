-- Which level decides what is attended to: patch, slice or stain?
-- Correlation of each level's attention with effective attention over a case's patches, by Pearson and by Spearman
-- (ties share their mean rank); with pct over its top patches alone, the greatest(1, floor(n * pct / 100)) of highest
-- effective attention. The columns `_class` say the same of all these patches of all cases of a class at once, those with
-- `_all` of all classes: these are null unless the classes have one sign. Where a level has nothing to correlate it is
-- null, and `undefined` says why. Tied are top patches whose attention, to six digits, is that of a patch left out: among
-- equals names decide.
-- needs: whole
-- grain: one row per run, case and level
-- param pct double = 100 [0, 100]: only the case's top patches, so many percent of them; the study took 5
-- columns: case_id, true_class, outcome, error, n_patches, level, pearson, spearman, undefined, pearson_class, spearman_class, pearson_all, spearman_all, tied_patches, subset, run_id
-- shown: case_id, true_class, outcome, level, pearson, spearman, undefined
-- told: patch_lists.told_of_top

with cases_asked as (
    select
        selection.*,
        row_number() over (order by run_id, case_id) as case_number,
        coalesce(true_label, -1) as class_number
    from selection
    join predictions using (run_id, case_id)
),

weights as (
    select
        case_number,
        class_number,
        stain,
        slice_idx,
        patch_attention as patch_weight,
        slice_attention as slice_weight,
        stain_attention as stain_weight,
        effective_attention as effective
    from attention
    join cases_asked using (run_id, case_id)
    where rank <= top_count(n_patches, $pct::double)
),

left_out as (
    select case_number, effective_attention::double as next_weight
    from attention
    join cases_asked using (run_id, case_id)
    where rank = top_count(n_patches, $pct::double) + 1
),

ties as (
    select case_number, count(*) as tied_patches
    from weights
    join left_out using (case_number)
    where effective::double <= next_weight * (1 + 1e-6)
    group by case_number
),

-- Ranks are over all patches, case after case: within a case they are its own plus what stands before it, which no
-- correlation sees. One sort of all is much quicker than one for each case.
ranked as (
    select
        *,
        rank() over by_patch + (count(*) over (by_patch range current row) - 1) / 2 as patch_rank,
        rank() over by_effective + (count(*) over (by_effective range current row) - 1) / 2 as effective_rank,
        rank() over by_patch_of_class
        + (count(*) over (by_patch_of_class range current row) - 1) / 2 as patch_rank_class,
        rank() over by_effective_of_class
        + (count(*) over (by_effective_of_class range current row) - 1) / 2 as effective_rank_class,
        rank() over by_patch_of_all + (count(*) over (by_patch_of_all range current row) - 1) / 2 as patch_rank_all,
        rank() over by_effective_of_all
        + (count(*) over (by_effective_of_all range current row) - 1) / 2 as effective_rank_all
    from weights
    window
        by_patch as (order by case_number, patch_weight),
        by_effective as (order by case_number, effective),
        by_patch_of_class as (order by class_number, patch_weight),
        by_effective_of_class as (order by class_number, effective),
        by_patch_of_all as (order by patch_weight),
        by_effective_of_all as (order by effective)
),

-- All patches of a slice have its weight and its stain's: their rank follows from the number of patches.
slices_of_case as (
    select
        case_number,
        class_number,
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
        sum(patches) over by_slice_of_class
        - sum(patches) over (by_slice_of_class range current row) / 2 as slice_rank_class,
        sum(patches) over by_stain_of_class
        - sum(patches) over (by_stain_of_class range current row) / 2 as stain_rank_class,
        sum(patches) over by_slice_of_all - sum(patches) over (by_slice_of_all range current row) / 2 as slice_rank_all,
        sum(patches) over by_stain_of_all - sum(patches) over (by_stain_of_all range current row) / 2 as stain_rank_all
    from slices_of_case
    window
        by_slice as (order by case_number, slice_weight),
        by_stain as (order by case_number, stain_weight),
        by_slice_of_class as (order by class_number, slice_weight),
        by_stain_of_class as (order by class_number, stain_weight),
        by_slice_of_all as (order by slice_weight),
        by_stain_of_all as (order by stain_weight)
),

correlated as (
    select *
    from ranked
    join slices_ranked using (case_number, stain, slice_idx)
),

-- Of each case, of each class, and of all at once, where both numbers are null: each has its own ranks, the others mean
-- nothing there.
-- Over weights that are all the same a correlation is undefined, whatever rounding makes of it.
correlations as (
    select
        case_number,
        class_number,
        count(*) as n_patches,
        min(effective) < max(effective) as effective_varies,
        [
            {
                'level': 'patch',
                'weight_varies': min(patch_weight) < max(patch_weight),
                'pearson': corr(patch_weight, effective),
                'spearman': corr(patch_rank, effective_rank),
                'spearman_class': corr(patch_rank_class, effective_rank_class),
                'spearman_all': corr(patch_rank_all, effective_rank_all)
            },
            {
                'level': 'slice',
                'weight_varies': min(slice_weight) < max(slice_weight),
                'pearson': corr(slice_weight, effective),
                'spearman': corr(slice_rank, effective_rank),
                'spearman_class': corr(slice_rank_class, effective_rank_class),
                'spearman_all': corr(slice_rank_all, effective_rank_all)
            },
            {
                'level': 'stain',
                'weight_varies': min(stain_weight) < max(stain_weight),
                'pearson': corr(stain_weight, effective),
                'spearman': corr(stain_rank, effective_rank),
                'spearman_class': corr(stain_rank_class, effective_rank_class),
                'spearman_all': corr(stain_rank_all, effective_rank_all)
            }
        ] as levels
    from correlated
    group by grouping sets ((case_number), (class_number), ())
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

of_class as (
    select
        class_number,
        level,
        if(weight_varies and effective_varies, least(1, greatest(-1, pearson)), null) as pearson_class,
        if(weight_varies and effective_varies, least(1, greatest(-1, spearman_class)), null) as spearman_class
    from correlations_of_level
    where class_number is not null
),

of_all as (
    select
        level,
        weight_varies and effective_varies as defined,
        pearson,
        spearman_all,
        -- A class without a correlation has no sign that the others could share.
        (select abs(sum(coalesce(sign(pearson_class), 0))) = count(*) from of_class where of_class.level = everything.level)
            as pearson_agrees,
        (select abs(sum(coalesce(sign(spearman_class), 0))) = count(*) from of_class where of_class.level = everything.level)
            as spearman_agrees
    from correlations_of_level as everything
    where case_number is null and class_number is null
)

select
    case_id,
    true_class,
    outcome,
    error,
    explained.n_patches::integer as n_patches,
    explained.level,
    if(undefined is null, least(1, greatest(-1, explained.pearson)), null) as pearson,
    if(undefined is null, least(1, greatest(-1, spearman)), null) as spearman,
    undefined,
    pearson_class,
    of_class.spearman_class,
    if(of_all.defined and pearson_agrees, least(1, greatest(-1, of_all.pearson)), null) as pearson_all,
    if(of_all.defined and spearman_agrees, least(1, greatest(-1, of_all.spearman_all)), null) as spearman_all,
    coalesce(tied_patches, 0) as tied_patches,
    cases_asked.subset,
    run_id
from explained
join of_all using (level)
join cases_asked using (case_number)
join of_class on cases_asked.class_number = of_class.class_number and explained.level = of_class.level
left join ties using (case_number)
join predictions_named using (run_id, case_id)
order by case_order nulls last, case_id, run_id, explained.level
