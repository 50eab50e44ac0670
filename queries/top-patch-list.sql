-- Which patches a case's attention goes to, or passes over, one by one.
-- The list takes the n patches of highest (top) or lowest (bottom) effective attention of each case. An even share is
-- one over the case's patches: times_even says how many times as much the patch has. Tied are patches whose attention, to six
-- digits, is that of a patch that is not listed: among equals names decide.
-- needs: top
-- scores: yes
-- grain: one row per run, case and patch; from the end that was asked for inwards
-- param n integer = 8 [1, 1000]: patches of each case
-- param end text = top: top or bottom
-- columns: run_id, case_id, subset, true_class, outcome, rank, stain, slice_idx, slice_name, patch_idx, stain_attention, slice_attention, patch_attention, effective_attention, times_even, case_patches, file, tied
-- shown: case_id, rank, stain, slice_name, patch_idx, effective_attention, times_even
-- told: patch_lists.told

with asked as (
    select case lower($end::text)
        when 'top' then 'top'
        when 'bottom' then 'bottom'
        else error('end is ''' || $end::text || ''': use top or bottom')
    end as side
),

listed as (
    select
        attention.*,
        selection.subset,
        if(side = 'top', rank, n_patches + 1 - rank) as position
    from attention
    join selection using (run_id, case_id)
    cross join asked
    where if(side = 'top', rank, n_patches + 1 - rank) <= $n::integer + 1
),

compared as (
    -- With the first patch that is not listed, which is then left out.
    select
        *,
        max(effective_attention::double) filter (where position = $n::integer + 1) over (
            partition by run_id, case_id
        ) as next_weight
    from listed
    qualify position <= $n::integer
)

select
    compared.run_id,
    case_id,
    compared.subset,
    true_class,
    outcome,
    rank,
    stain,
    slice_idx,
    slices.slice_name,
    patch_idx,
    stain_attention,
    slice_attention,
    patch_attention,
    effective_attention,
    effective_attention::double * compared.n_patches as times_even,
    compared.n_patches as case_patches,
    patches.file,
    same_to_six_digits(effective_attention::double, next_weight) as tied
from compared
join predictions_named using (run_id, case_id)
left join slices using (case_id, stain, slice_idx)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by case_order nulls last, case_id, run_id, position
