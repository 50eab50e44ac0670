-- Which class is taken for which, in each split and over all?
-- Share is of the cases of the true class: on the diagonal it is the recall.
-- grain: one row per scope (a split, or all splits pooled), true class and predicted class
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
        'split ' || split as scope,
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
        sum(cases)::bigint as cases
    from of_runs
    where (select count(*) from scopes) > 1
    group by all
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
