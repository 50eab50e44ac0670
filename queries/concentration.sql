-- Does a model err more where its attention is concentrated?
-- Attention is the sum of effective attention over the case's k most attended patches, k = 1 to 4, and over its
-- greatest(1, floor(n * pct / 100)) most attended; a case of fewer than k patches gives all of them. Rho, with its 95%
-- interval (Bonett and Wright 2000), is Spearman's over the predictions of one top and one class, since classes may differ
-- in error and in attention alike. The pooled rho is the mean of the classes' rhos weighted by their predictions, and is
-- given only where these have one sign. Intervals and p-value are left out where a case is predicted by several runs.
-- needs: top
-- grain: one row per top (1, 2, 3, 4 and the share), run and case
-- param pct double = 5 [0, 100]: share of the case's patches that the last top takes, in percent
-- columns: top, case_id, true_class, outcome, error, top_patches, attention, subset, run_id
-- shown: top, case_id, true_class, outcome, error, top_patches, attention
-- then: concentration.with_correlation
-- answer: correlation.answer
-- report: concentration.report

with cases_asked as (
    select run_id, case_id, selection.subset, n_patches
    from attention
    join selection using (run_id, case_id)
    where rank = 1
),

tops as (
    select unnest(range(1, 6)) as top_order
),

cutoffs as (
    select
        *,
        case when top_order = 5 then printf('top %g%%', $pct::double) else printf('top %d', top_order) end as top,
        case
            when top_order = 5 then top_count(n_patches, $pct::double)
            else least(top_order, n_patches)
        end::integer as top_patches
    from cases_asked
    cross join tops
),

sums as (
    select run_id, case_id, cutoffs.subset, top_order, top, top_patches, sum(effective_attention::double) as attention
    from cutoffs
    join attention using (run_id, case_id)
    where rank <= top_patches
    group by all
    -- Of a run that knows a part of its attention: only tops that are known whole.
    having count(*) = top_patches
)

select
    top,
    case_id,
    true_class,
    outcome,
    error,
    top_patches,
    attention,
    sums.subset,
    sums.run_id
from sums
join predictions_named using (run_id, case_id)
order by top_order, case_order nulls last, case_id, run_id
