-- Which experiment is better, and is that more than chance?
-- Recall of each class, accuracy, balanced accuracy and AUC of every experiment, over all its test cases: pooled over split
-- sets, splits and seeds, a case that was tested several times counted once, by its mean probability, with a 95% interval;
-- and the mean of its runs with its standard error. Runs that share cases are not independent: the standard error is then
-- too small, and the interval of the counts is the one to go by. Only complete repeats (a split set, a seed) count, where
-- there is one. Experiments that were tested on other cases are not comparable: look at the counts.
-- grain: one row per prediction; then one per experiment, measure and class
-- param like text = *: only experiments whose names fit this pattern, such as mil-*
-- over: experiments
-- columns: experiment, run_id, split_set, split, seed, case_id, subset, true_label, pred_label, probabilities, class_names
-- shown: experiment, measure, true_class, right, cases, value, low, high, mean, se
-- then: experiments.compared

select
    runs.experiment,
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
where predictions.true_label is not null and runs.experiment glob $like
order by runs.experiment, runs.split_set, runs.seed, runs.split, run_id, case_order nulls last, case_id
