-- Which class is taken for which, in each split and over all?
-- A case that several splits hold in test counts once where they are pooled, by its mean probability.
-- Share is of the cases of the true class: on the diagonal it is the recall.
-- grain: one row per scope (a split, or all splits pooled), true class and predicted class
-- over: tests
-- internal: scope
-- columns: scope, true_class, pred_class, cases, of_true_class, share

with counted as (
    select
        run_id,
        true_label,
        pred_label,
        count(*) as cases
    from predictions
    join selection using (run_id, case_id)
    group by all
),

means as (
    select
        case_id,
        label,
        avg(probability) as probability
    from probabilities
    join selection using (run_id, case_id)
    where subset = 'test'
    group by all
),

pooled as (
    select
        predictions.true_label,
        arg_min(means.label, (-means.probability, means.label)) as pred_label
    from means
    join (select distinct case_id, true_label from predictions join selection using (run_id, case_id)) as predictions
        using (case_id)
    group by case_id, predictions.true_label
    union all
    select true_label, pred_label
    from predictions
    join selection using (run_id, case_id)
    where selection.subset <> 'test'
),

pooled_counts as (
    select true_label, pred_label, count(*) as cases
    from pooled
    group by all
),

labels as (
    select distinct label, coalesce(class_name, 'class ' || label) as class_name
    from probabilities
    join selection using (run_id, case_id)
    left join classes using (label)
),

scopes as (
    select distinct
        run_id,
        runs.split
    from selection
    join runs using (run_id)
),

of_runs as (
    select
        scopes.run_id,
        scopes.split,
        of_true.label as true_label,
        of_pred.label as pred_label,
        of_true.class_name as true_class,
        of_pred.class_name as pred_class,
        coalesce(counted.cases, 0) as cases
    from scopes
    cross join labels as of_true
    cross join labels as of_pred
    left join counted
        on counted.run_id = scopes.run_id
        and counted.true_label = of_true.label
        and counted.pred_label = of_pred.label
),

of_scopes as (
    select
        coalesce('split ' || split, 'no split') as scope,
        split,
        run_id,
        true_label,
        pred_label,
        true_class,
        pred_class,
        cases
    from of_runs
    union all
    select
        'all splits pooled' as scope,
        null as split,
        null as run_id,
        true_label,
        pred_label,
        true_class,
        pred_class,
        coalesce(pooled_counts.cases, 0)::bigint as cases
    from (select distinct true_label, pred_label, true_class, pred_class from of_runs) as pairs
    left join pooled_counts using (true_label, pred_label)
    where (select count(*) from scopes) > 1
),

with_totals as (
    select
        *,
        sum(cases) over (partition by scope, run_id, true_label)::bigint as of_true_class
    from of_scopes
)

select
    scope,
    true_class,
    pred_class,
    cases,
    of_true_class,
    cases / nullif(of_true_class, 0) as share
from with_totals
order by split nulls first, run_id, true_label, pred_label
