-- Which calls were close, and could as well have gone the other way?
-- The margin is half the difference of the two largest probabilities: with two classes, the distance from 0.5.
-- Concentration is the effective attention of the case's top patches, greatest(1, floor(n * pct / 100)) of them;
-- it is null of a run without attention.
-- attention: optional
-- needs: top
-- grain: one row per run and case within the margin, the closest first
-- param margin double = 0.1 [0, 0.5]: largest margin that counts as close
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- columns: case_id, true_class, pred_class, outcome, p_true, margin, patches, slices, missing_stains, concentration, subset, split, run_id
-- shown: case_id, true_class, pred_class, outcome, p_true, patches, slices, split

with close as (
    select predictions_named.*, margin
    from predictions_named
    join selection using (run_id, case_id)
    join case_probabilities using (run_id, case_id)
    -- A margin such as 0.6 - 0.5 must not fall out by its last bit.
    where margin <= $margin::double + 1e-9
),

attended as (
    select
        run_id,
        case_id,
        sum(effective_attention::double)
            filter (where rank <= top_count(n_patches, $pct::double)) as concentration
    from attention
    join close using (run_id, case_id)
    group by all
)

select
    case_id,
    true_class,
    pred_class,
    outcome,
    p_true,
    margin,
    patches,
    slices,
    missing_stains,
    concentration,
    subset,
    runs.split,
    run_id
from close
-- Of a case without attention another trainer does not say how many patches it saw.
left join case_coverage using (run_id, case_id)
left join attended using (run_id, case_id)
join runs using (run_id)
order by margin, case_order nulls last, case_id, run_id
