-- How are the classes spread over training, validation and test in each split?
-- Counts the cases that the runs predicted, with the labels that they saw. Of several runs of one split, the newest counts.
-- grain: one row per split, subset and class; then one per split and subset, with a column of counts for each class
-- over: runs
-- columns: split, subset, true_label, true_class, cases, run_id
-- then: outcomes.balance

with newest as (
    select
        split_set,
        split,
        arg_max(run_id, (finished_at, run_id)) as run_id
    from runs
    where run_id in (select run_id from selection)
    group by all
),

counted as (
    select
        split_set,
        split,
        run_id,
        subset,
        true_label,
        true_class,
        count(*) as cases
    from newest
    join selection using (run_id)
    join predictions_named using (run_id, case_id, subset)
    group by all
)

select
    split,
    subset,
    true_label,
    true_class,
    cases,
    run_id
from counted
order by split_set, split, list_position(['train', 'val', 'test'], subset), true_label
