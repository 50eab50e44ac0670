-- How well do the probabilities tell the classes apart?
-- ROC curves and the areas under them, of one class against the others.
-- One curve a split, and one of all predictions pooled, which compares probabilities of different models (a case that
-- several splits hold in test counts once, by its mean probability). The interval
-- of an area is a 95% percentile bootstrap of 2,000 seeded draws within each class (for the mean over splits: within each
-- class and split); it is left out where the area is 0 or 1, for then every draw gives the same.
-- grain: one row per prediction; then one per curve and threshold, and one without a point for the mean over splits
-- param positive integer = null [0, ]: number of the class to tell from the others; the highest unless given
-- over: tests
-- columns: run_id, split, case_id, subset, true_label, positive, positive_class, score, n_classes
-- shown: curve, threshold, false_positive_rate, true_positive_rate, auc, low, high
-- internal: curve
-- then: roc.curves

with chances as (
    select
        run_id,
        case_id,
        label,
        probability,
        count(*) over (partition by run_id, case_id) as n_classes,
        max(label) over (partition by run_id, case_id) as highest
    from probabilities
    join selection using (run_id, case_id)
),

scores as (
    select
        run_id,
        case_id,
        label as positive,
        probability as score,
        n_classes
    from chances
    where label = coalesce($positive::integer, highest)
)

select
    run_id,
    runs.split,
    case_id,
    selection.subset,
    predictions.true_label,
    positive,
    coalesce(classes.class_name, 'class ' || positive) as positive_class,
    score,
    n_classes
from scores
join predictions using (run_id, case_id)
join selection using (run_id, case_id)
join runs using (run_id)
left join classes on classes.label = positive
left join cases using (case_id)
where predictions.true_label is not null
order by runs.split, run_id, case_order nulls last, case_id
