-- One row per run and case: what the run said of it, in words, and the case's place in the order for people.
-- Of a case without a label, true_class and outcome are null. A class that the store no longer knows is called by its
-- number, and a case that it no longer knows has no place.
create or replace view predictions_named as
select
    predictions.run_id,
    predictions.case_id,
    predictions.subset,
    predictions.true_label,
    coalesce(true_classes.class_name, 'class ' || predictions.true_label) as true_class,
    predictions.pred_label,
    coalesce(pred_classes.class_name, 'class ' || predictions.pred_label) as pred_class,
    case
        when predictions.pred_label = predictions.true_label then 'right'
        when predictions.pred_label <> predictions.true_label then 'wrong'
    end as outcome,
    predictions.p_true,
    predictions.error,
    cases.case_order
from predictions
left join cases using (case_id)
left join classes as true_classes on true_classes.label = predictions.true_label
left join classes as pred_classes on pred_classes.label = predictions.pred_label;
