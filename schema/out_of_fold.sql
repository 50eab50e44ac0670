-- One row per experiment, seed and case: its prediction by the run that held it in test.
-- Where a split was trained more than once with one seed, the newest run answers.
create or replace view out_of_fold as
with newest as (
    select run_id, experiment, seed, split_set, split
    from runs
    qualify row_number() over (partition by experiment, seed, split_set, split order by finished_at desc, run_id desc) = 1
)
select
    newest.experiment,
    newest.seed,
    newest.split_set,
    newest.split,
    newest.run_id,
    predictions.case_id,
    predictions.true_label,
    predictions.pred_label,
    predictions.p_true,
    predictions.error
from newest
join predictions using (run_id)
where predictions.subset = 'test';
