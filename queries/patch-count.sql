-- Does a model err more on cases of few patches?
-- Patches in the top share, and in all, against the error. The top patches of a case are the greatest(1, floor(n * pct
-- / 100)) patches of highest effective attention. Rho, with its 95% interval (Bonett and Wright 2000), is Spearman's
-- over the predictions of one class, since classes may differ in error and in patches alike. The pooled rho is the mean
-- of the classes' rhos weighted by their predictions, and is given only where these have one sign. Intervals and p-value
-- are left out where a case is predicted by several runs.
-- grain: one row per count (the top share, all), run and case
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- columns: counted, case_id, true_class, outcome, error, patches, subset, run_id
-- shown: counted, case_id, true_class, outcome, error, patches
-- then: concentration.with_correlation_of_counts
-- answer: correlation.answer
-- report: concentration.report_of_counts

with cases_asked as (
    select run_id, case_id, selection.subset, patches as n_patches
    from case_coverage
    join selection using (run_id, case_id)
),

counts as (
    select
        run_id,
        case_id,
        subset,
        1 as count_order,
        printf('top %g%%', $pct::double) as counted,
        top_count(n_patches, $pct::double)::integer as patches
    from cases_asked
    union all
    select run_id, case_id, subset, 2, 'all', n_patches
    from cases_asked
)

select
    counted,
    case_id,
    true_class,
    outcome,
    error,
    patches,
    counts.subset,
    counts.run_id
from counts
join predictions_named using (run_id, case_id)
order by count_order, case_order nulls last, case_id, run_id
