-- Do two runs look at the same patches?
-- How alike their effective attention is, case by case: of the two runs that are named, or of every pair of an
-- experiment's runs, over the cases that both predicted. Only over the same patches: where a case's patches differ
-- between the runs, the measures of attention are null. Spearman's rho with mean ranks for ties, null where a run gives
-- all patches the same; Jaccard index of the two sets of greatest(1, floor(n * pct / 100)) top patches; Jensen-Shannon
-- divergence in bits; Kullback-Leibler divergence from a to b in nats, sum(a ln((a + e) / (b + e))) with e = 1e-12;
-- p_true_difference is run a's probability of the true class (as run a was told it) less run b's of the same class.
-- More than 100 million patches of all runs, or 5 billion comparisons of two patches, are refused.
-- needs: whole
-- grain: one row per run and case, with its patches; then one per pair of runs and case
-- over: runs
-- param a run = null: a run; compared with --b
-- param b run = null: another run
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- columns: run_id, split, seed, subset, case_id, true_label, p_true, probabilities, n_top, patches
-- shown: run_a, run_b, case_id, spearman, jaccard, js_divergence
-- then: comparison.compared
-- report: comparison.report

-- Two that are named stand in their order; of an experiment's, the lower split and seed first.
with runs_asked as (
    select
        run_id,
        split,
        seed,
        row_number() over (
            order by list_position([$a::varchar, $b::varchar], run_id), split_set, split, seed, run_id
        ) as run_number
    from runs
    where run_id in (select run_id from selection)
),

slices_seen as (
    select stain, slice_idx, row_number() over (order by stain, slice_idx) as slice_number
    from (select distinct stain, slice_idx from attention)
),

-- A patch counts once for each pair of runs that saw it.
sizes as (
    select sum(patches) as patches, sum(patches * (runs - 1) / 2) as comparisons
    from (
        select count(*) as runs, sum(n_patches::bigint) as patches
        from attention
        join selection using (run_id, case_id)
        where rank = 1
        group by case_id
    )
),

-- A hundred runs of a million patches, on two cores, take most of the minute and of the 8 GB that a question may take.
-- What is more is refused before it is read.
allowed as (
    select
        if(
            patches > 100_000_000 or comparisons > 5_000_000_000,
            error(
                format(
                    '{:,} pairs of runs with {:,} patches are too many to compare: '
                    'give --seed, two runs by --a and --b, or --case',
                    (select count(*) * (count(*) - 1) // 2 from runs_asked),
                    patches::bigint
                )
            ),
            true
        ) as allowed
    from sizes
),

-- A patch's place within its case is one number: numbers are brought into order sooner than texts.
patches_of_case as (
    select
        run_id,
        case_id,
        top_count(any_value(n_patches), $pct::double) as n_top,
        list({'place': slice_number * 4294967296 + patch_idx, 'rank': rank, 'weight': effective_attention}) as patches
    from attention
    join selection using (run_id, case_id)
    join slices_seen using (stain, slice_idx)
    where (select allowed from allowed)
    group by all
),

chances as (
    select run_id, case_id, list({'label': label, 'probability': probability}) as probabilities
    from probabilities
    join selection using (run_id, case_id)
    group by all
)

select
    run_id,
    split,
    seed,
    selection.subset,
    case_id,
    -- A case without a label is compared too, but for the probability of its class.
    coalesce(true_label, -1) as true_label,
    coalesce(p_true, 'nan'::double) as p_true,
    probabilities,
    n_top,
    patches
from selection
join runs_asked using (run_id)
join predictions using (run_id, case_id)
join chances using (run_id, case_id)
join patches_of_case using (run_id, case_id)
left join cases using (case_id)
order by case_order nulls last, case_id, run_number
