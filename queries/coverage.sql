-- Which patches exist, which could training see, and which did evaluation use?
-- Over the runs that answer: the most that any of them knew to exist, and the fewest that any of them used, so that
-- what one run lost shows. Trained is what one epoch could see under the cap of a run that had the case in training;
-- null if none had.
-- grain: one row per case, stain and slice
-- over: runs
-- columns: case_id, stain, slice_idx, slice_name, runs, runs_trained, existing, with_feature, trained, evaluated

with slices_of_runs as (
    select run_id, case_id, stain, slice_idx, coverage.subset, existing, with_feature, trained, evaluated
    from coverage
    join selection using (run_id, case_id)
),

over_runs as (
    select
        case_id,
        stain,
        slice_idx,
        count(*) as runs,
        count(*) filter (where subset = 'train') as runs_trained,
        max(existing) as existing,
        min(with_feature) as with_feature,
        min(trained) filter (where subset = 'train') as trained,
        min(evaluated) as evaluated
    from slices_of_runs
    group by all
)

select
    case_id,
    over_runs.stain,
    slice_idx,
    slice_name,
    runs,
    runs_trained,
    existing,
    with_feature,
    trained,
    evaluated
from over_runs
left join cases using (case_id)
left join stains using (stain)
left join slices using (case_id, stain, slice_idx)
order by case_order nulls last, case_id, stain_order nulls last, over_runs.stain, natural_order(slice_name), slice_idx
