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

with wrong as (
    select predictions_named.*, margin
    from predictions_named
    join selection using (run_id, case_id)
    join case_probabilities using (run_id, case_id)
    where pred_label <> true_label
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
left join case_coverage using (run_id, case_id)
left join attended using (run_id, case_id)
join runs using (run_id)
order by error desc, case_order nulls last, case_id, run_id
