-- Which cases are called wrong, and what do they look like?
-- The margin is half the difference of the two largest probabilities: how far the call was from turning. Concentration
-- is the effective attention of the case's top patches, greatest(1, floor(n * pct / 100)) of them;
-- it is null of a run without attention.
-- attention: optional
-- needs: top
-- grain: one row per run and case that was called wrong, the most wrong first
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- columns: case_id, true_class, pred_class, p_true, margin, patches, slices, missing_stains, concentration, subset, split, run_id
-- shown: case_id, true_class, pred_class, p_true, patches, slices, missing_stains, split

with chances as (
    select
        run_id,
        case_id,
        list(probability order by probability desc) as largest
    from probabilities
    join selection using (run_id, case_id)
    group by all
),

wrong as (
    select
        predictions_named.*,
        (largest[1] - largest[2]) / 2 as margin
    from predictions_named
    join chances using (run_id, case_id)
    where pred_label <> true_label
),

-- By coverage, as a run need not have attention.
seen as (
    select
        run_id,
        case_id,
        sum(evaluated)::integer as patches,
        count(*) as slices,
        list(distinct stain) as stains_there
    from coverage
    join wrong using (run_id, case_id)
    where evaluated > 0
    group by all
),

attended as (
    select
        run_id,
        case_id,
        sum(effective_attention::double)
            filter (where rank <= top_count(n_patches, $pct::double)) as concentration
    from attention
    join wrong using (run_id, case_id)
    group by all
),

missing as (
    select
        run_id,
        case_id,
        string_agg(stain, ', ' order by stain_order) as missing_stains
    from seen
    cross join stains
    where not list_contains(stains_there, stain)
    group by all
)

select
    case_id,
    true_class,
    pred_class,
    p_true,
    margin,
    patches,
    slices,
    missing_stains,
    concentration,
    subset,
    runs.split,
    run_id
from wrong
-- Of a case without attention another trainer does not say how many patches it saw.
left join seen using (run_id, case_id)
left join attended using (run_id, case_id)
join runs using (run_id)
left join missing using (run_id, case_id)
order by error desc, case_order nulls last, case_id, run_id
