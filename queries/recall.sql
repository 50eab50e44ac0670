-- How many cases of each class are recognised, and how sure is that?
-- Recall and accuracy with their Wilson 95% intervals, balanced accuracy and AUC: for each split, their mean over the
-- splits with its standard error, and pooled over all predictions, a case that several splits hold in test counted once by
-- its mean probability. Where an experiment has several split sets or seeds, all that are complete count: a row for each,
-- the mean over all their runs, and pooled. Runs that share cases are not independent, so that the standard error is then
-- too small. The AUC of more than two classes is the mean of one class against the rest. The pooled AUC compares
-- probabilities of different models; the mean over splits does not.
-- grain: one row per prediction; then one per scope, measure and class
-- over: repeats
-- columns: run_id, split_set, split, seed, case_id, subset, true_label, pred_label, probabilities, class_names
-- shown: measure, true_class, scope, right, cases, value, low, high, se
-- internal: scope
-- then: recall.summary

select
    run_id,
    runs.split_set,
    runs.split,
    runs.seed,
    case_id,
    selection.subset,
    predictions.true_label,
    predictions.pred_label,
    probabilities,
    class_names
from selection
join predictions using (run_id, case_id)
join case_probabilities using (run_id, case_id)
join runs using (run_id)
left join cases using (case_id)
where predictions.true_label is not null
order by runs.split_set, runs.seed, runs.split, run_id, case_order nulls last, case_id
