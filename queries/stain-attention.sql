-- How much each stain weighs in each case, and which stain leads how often.
-- The leading stain of a case is the one of highest weight. Where others have the same weight, to six digits, none leads
-- and these are tied. Leads_in_class is how many of the class's cases the stain leads, of cases_in_class, of which
-- tied_in_class have no leader; even is the weight that stains of equal weight have.
-- needs: whole
-- grain: one row per run, case and stain
-- columns: run_id, case_id, subset, true_class, outcome, error, stain, stain_attention, even, leads, tied, stain_slices, stain_patches, leads_in_class, cases_in_class, tied_in_class
-- shown: case_id, true_class, outcome, stain, stain_attention, even, leads, stain_patches
-- told: stains.told

with stains_of_case as (
    select
        run_id,
        case_id,
        selection.subset,
        stain,
        any_value(stain_attention) as stain_attention,
        count(*) as stain_slices,
        sum(slice_patches)::bigint as stain_patches
    from slice_weights
    join selection using (run_id, case_id)
    group by all
),

compared as (
    select
        *,
        1 / count(*) over of_case as even,
        stain_attention >= max(stain_attention) over of_case * (1 - 1e-6) as highest,
        row_number() over (of_case order by stain_order nulls last, stain) = 1 as first_of_case
    from stains_of_case
    left join stains using (stain)
    window of_case as (partition by run_id, case_id)
),

led as (
    select
        *,
        highest and count(*) filter (where highest) over of_case = 1 as leads,
        highest and count(*) filter (where highest) over of_case > 1 as tied,
        count(*) filter (where highest) over of_case > 1 as without_leader
    from compared
    window of_case as (partition by run_id, case_id)
),

with_class as (
    select led.*, true_label, true_class, outcome, error, case_order
    from led
    join predictions_named using (run_id, case_id)
)

select
    run_id,
    case_id,
    subset,
    true_class,
    outcome,
    error,
    stain,
    stain_attention,
    even,
    leads,
    tied,
    stain_slices,
    stain_patches,
    count(*) filter (where leads) over (partition by true_label, stain) as leads_in_class,
    count(*) filter (where first_of_case) over (partition by true_label) as cases_in_class,
    count(*) filter (where first_of_case and without_leader) over (partition by true_label) as tied_in_class
from with_class
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain
