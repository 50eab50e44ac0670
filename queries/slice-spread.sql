-- Does attention take its top patches from a few slices or from many, and does that go with the error?
-- The top patches of a case are the greatest(1, floor(n * pct / 100)) patches of highest effective attention. The ratio
-- is the share of the case's slices that hold one; the expected ratio is its mean if as many patches were drawn by lot
-- (hypergeometric). The relative spread is their quotient: 1 is an even spread, less means few slices. Spearman's rho,
-- of the ratio and of the relative spread with the error, is over the cases shown of one class, with its 95% interval
-- (Bonett and Wright 2000); the pooled rho is the mean of the classes' rhos weighted by their predictions, and is given
-- only where these have one sign. Tied are top patches whose attention, to six digits, is that of a patch left out: where
-- they lie is decided by name.
-- needs: top
-- grain: one row per run and case; the least spread first
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- param max_slices integer = null [1, ]: only cases with at most so many slices
-- columns: case_id, true_class, pred_class, outcome, error, patches, top_patches, slices, touched_slices, tied_patches, ratio, slice_sizes, subset, split, run_id
-- shown: case_id, true_class, outcome, error, top_patches, slices, touched_slices, relative_spread
-- then: spread.spread
-- answer: spread.answer
-- told: spread.told

with tops as (
    -- With the first patch that is left out.
    select run_id, case_id, rank, effective_attention::double as weight, top_count(n_patches, $pct::double) as cut
    from attention
    join selection using (run_id, case_id)
    where rank <= top_count(n_patches, $pct::double) + 1
),

left_out as (
    select run_id, case_id, weight as next_weight
    from tops
    where rank = cut + 1
),

ties as (
    select
        run_id,
        case_id,
        count(*) filter (where rank <= cut and same_to_six_digits(weight, next_weight)) as tied_patches
    from tops
    join left_out using (run_id, case_id)
    group by all
),

tops_of_slice as (
    select run_id, case_id, stain, slice_idx, count(*) filter (where rank <= top_count(n_patches, $pct::double)) as slice_top_patches
    from attention
    join selection using (run_id, case_id)
    group by all
),

cases_attended as (
    select distinct run_id, case_id
    from tops_of_slice
),

-- By coverage, as attention may be known of the top patches alone.
slices_of_case as (
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        evaluated as slice_patches,
        (sum(evaluated) over (partition by run_id, case_id))::integer as patches,
        coalesce(slice_top_patches, 0) as slice_top_patches
    from coverage
    join cases_attended using (run_id, case_id)
    left join tops_of_slice using (run_id, case_id, stain, slice_idx)
    where evaluated > 0
),

spread_of_case as (
    select
        run_id,
        case_id,
        any_value(patches) as patches,
        sum(slice_top_patches)::bigint as top_patches,
        count(*) as slices,
        count(*) filter (where slice_top_patches > 0) as touched_slices,
        list(slice_patches order by stain, slice_idx) as slice_sizes
    from slices_of_case
    group by all
)

select
    case_id,
    true_class,
    pred_class,
    outcome,
    error,
    patches,
    top_patches,
    slices,
    touched_slices,
    coalesce(tied_patches, 0) as tied_patches,
    touched_slices / slices as ratio,
    slice_sizes,
    subset,
    runs.split,
    run_id
from spread_of_case
left join ties using (run_id, case_id)
join predictions_named using (run_id, case_id)
join runs using (run_id)
where slices <= coalesce($max_slices::integer, slices)
order by case_order nulls last, case_id, run_id
