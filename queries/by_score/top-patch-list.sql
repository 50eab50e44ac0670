-- Which patches of a case have the highest or the lowest score, one by one.
-- The list takes the n patches of the highest (top) or lowest (bottom) score of each case. The score is a signed number that
-- is no attention: it has no share, and no even one. Tied are patches whose score, to six digits, is that of a patch that is not
-- listed: among equals names decide.
-- grain: one row per run, case and patch; from the end that was asked for inwards
-- param score text: name of the score
-- param n integer = 8 [1, 1000]: patches of each case
-- param end text = top: top or bottom
-- columns: run_id, case_id, subset, true_class, outcome, rank, stain, slice_idx, slice_name, patch_idx, score, case_patches, file, tied
-- shown: case_id, rank, stain, slice_name, patch_idx, score
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
        ranked.*,
        selection.subset,
        if(side = 'top', rank, n_patches + 1 - rank) as position
    from scores_ranked($score::text) as ranked
    join selection using (run_id, case_id)
    cross join asked
    where if(side = 'top', rank, n_patches + 1 - rank) <= $n::integer + 1
),

compared as (
    -- With the first patch that is not listed, which is then left out.
    select
        *,
        max(score) filter (where position = $n::integer + 1) over (partition by run_id, case_id) as next_score
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
    score,
    compared.n_patches as case_patches,
    patches.file,
    same_to_six_digits(score, next_score) as tied
from compared
join predictions_named using (run_id, case_id)
left join slices using (case_id, stain, slice_idx)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by case_order nulls last, case_id, run_id, position
