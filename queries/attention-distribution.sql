-- How a case's effective attention spreads over its patches.
-- Few patches with much, or many with a little each: a histogram in bins of equal width from 0 to the highest attention;
-- with log, of equal width in the logarithm, from the highest down to at most twelve powers of ten below it. What is
-- lower, 0 too, is in the lowest bin. A bin holds its lower bound, the last one its upper bound too. Uniform is the even
-- share, one over the case's patches. Top_patches is how many patches lie in this bin or a higher one, top_attention what
-- they hold together, and even_patches how many would hold as much in an even spread.
-- needs: whole
-- grain: one row per run and bin, empty ones too
-- param case text: the case
-- param bins integer = 40 [1, 1000]: number of bins
-- param log boolean = false: bins of equal width in the logarithm
-- columns: run_id, case_id, subset, true_class, outcome, bin, low, high, patches, attention, uniform, case_patches, top_patches, top_attention, even_patches
-- shown: bin, low, high, patches, attention

with weights as (
    select run_id, case_id, selection.subset, n_patches, effective_attention::double as weight
    from attention
    join selection using (run_id, case_id)
    where case_id = $case::text
),

ranges as (
    select
        run_id,
        case_id,
        subset,
        any_value(n_patches) as case_patches,
        max(weight) as highest,
        greatest(min(weight), max(weight) * 1e-12) as lowest
    from weights
    group by all
),

scales as (
    -- Where all weights are one, the bins would have no width.
    select
        *,
        if($log::boolean, log10(if(lowest < highest, lowest, highest / 10)), 0) as start,
        if($log::boolean, log10(highest), highest) as finish
    from ranges
),

counted as (
    select
        run_id,
        least(
            $bins::integer - 1,
            greatest(
                0,
                floor(
                    (if($log::boolean, log10(greatest(weight, lowest)), weight) - start)
                    / (finish - start) * $bins::integer
                )
            )
        )::integer as bin,
        count(*) as patches,
        sum(weight) as attention
    from weights
    join scales using (run_id, case_id)
    group by all
),

bins as (
    select
        *,
        start + (finish - start) * bin / $bins::integer as from_scale,
        start + (finish - start) * (bin + 1) / $bins::integer as to_scale
    from scales
    cross join (select unnest(range($bins::integer))::integer as bin)
),

summed as (
    select
        *,
        sum(coalesce(patches, 0)) over from_highest as top_patches,
        sum(coalesce(attention, 0)) over from_highest as top_attention
    from bins
    left join counted using (run_id, bin)
    window from_highest as (partition by run_id order by bin desc)
)

select
    run_id,
    case_id,
    summed.subset,
    true_class,
    outcome,
    bin,
    if($log::boolean, pow(10, from_scale), from_scale) as low,
    if($log::boolean, pow(10, to_scale), to_scale) as high,
    coalesce(patches, 0) as patches,
    coalesce(attention, 0) as attention,
    1 / case_patches as uniform,
    case_patches,
    top_patches::bigint as top_patches,
    top_attention,
    top_attention * case_patches as even_patches
from summed
join predictions_named using (run_id, case_id)
order by run_id, bin
