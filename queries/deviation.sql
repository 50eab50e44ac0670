-- How far is each case's predicted probability from its label?
-- With two classes: from the label, 0 or 1, to the probability of the class 1. With more: from 1 to the probability of
-- the true class, which is what the two-class form amounts to.
-- grain: one row per run and case, by class and error
-- columns: case_id, true_class, pred_class, outcome, label_value, probability, probability_of, error, subset, split, run_id
-- shown: case_id, true_class, pred_class, outcome, probability, error, split

with chances as (
    select
        run_id,
        case_id,
        len(labels) as n_classes,
        labels[-1] as highest,
        class_names[-1] as highest_class,
        probabilities[-1] as of_highest
    from case_probabilities
    join selection using (run_id, case_id)
)

select
    case_id,
    true_class,
    pred_class,
    outcome,
    if(n_classes = 2, (true_label = highest)::integer, 1) as label_value,
    if(n_classes = 2, of_highest, p_true) as probability,
    if(n_classes = 2, highest_class, 'the true class') as probability_of,
    error,
    selection.subset,
    runs.split,
    run_id
from selection
join predictions_named using (run_id, case_id)
join chances using (run_id, case_id)
join runs using (run_id)
order by true_label, error desc, case_order nulls last, case_id, run_id
