-- Do two runs look at the same patches?
-- How alike their effective attention is, case by case: of the two runs that are named, or of every pair of an
-- experiment's runs, over the cases that both predicted. Only over the same patches: where a case's patches differ
-- between the runs, the measures of attention are null. Spearman's rho with mean ranks for ties, null where a run gives
-- all patches the same; Jaccard index of the two sets of greatest(1, floor(n * pct / 100)) top patches; Jensen-Shannon
-- divergence in bits; Kullback-Leibler divergence from a to b in nats, sum(a ln((a + e) / (b + e))) with e = 1e-12;
-- p_true_difference is run a's probability of the true class (as run a was told it) less run b's of the same class.
-- grain: one row per pair of runs and case
-- over: runs
-- param a run = null: a run; compared with --b
-- param b run = null: another run
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- columns: run_a, split_a, seed_a, subset_a, run_b, split_b, seed_b, subset_b, case_id, n_patches, same_patches, spearman, jaccard, cosine, js_divergence, kl_divergence, p_true_difference
-- then: comparison.comparable
-- report: comparison.report

with runs_asked as (
    select run_id, split_set, split, seed
    from runs
    where run_id in (select run_id from selection)
),

-- Two that are named stand in their order; of an experiment's, the lower split and seed first.
pairs as (
    select
        a.run_id as run_a,
        a.split as split_a,
        a.seed as seed_a,
        b.run_id as run_b,
        b.split as split_b,
        b.seed as seed_b
    from runs_asked as a
    cross join runs_asked as b
    where
        if(
            $a::varchar is null,
            (a.split_set, a.split, a.seed, a.run_id) < (b.split_set, b.split, b.seed, b.run_id),
            a.run_id = $a::varchar and b.run_id = $b::varchar
        )
),

cases_asked as (
    select *, row_number() over (order by run_id, case_id) as case_number
    from selection
),

sums as (
    select run_id, case_id, sum(effective_attention::double) as whole
    from attention
    join cases_asked using (run_id, case_id)
    group by all
),

-- Ranks are over all rows, case after case: within a case they are its own plus what stands before it, which no
-- correlation sees. One sort of all is much quicker than one for each case.
weights as (
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        patch_idx,
        n_patches,
        rank <= greatest(1, floor(n_patches * $pct::double / 100)) as is_top,
        effective_attention::double / whole as weight,
        rank() over by_attention + (count(*) over (by_attention range current row) - 1) / 2 as mean_rank
    from attention
    join cases_asked using (run_id, case_id)
    join sums using (run_id, case_id)
    window by_attention as (order by case_number, effective_attention)
),

cases_of_pairs as (
    select pairs.*, a.case_id, a.subset as subset_a, b.subset as subset_b
    from pairs
    join selection as a on a.run_id = run_a
    join selection as b on b.run_id = run_b and b.case_id = a.case_id
),

patches_of_pairs as (
    select
        run_a,
        run_b,
        a.case_id,
        a.n_patches,
        b.n_patches as n_patches_b,
        a.weight as a,
        b.weight as b,
        (a.weight + b.weight) / 2 as middle,
        a.mean_rank as rank_a,
        b.mean_rank as rank_b,
        a.is_top as top_a,
        b.is_top as top_b
    from pairs
    join weights as a on a.run_id = run_a
    join weights as b
        on b.run_id = run_b
        and b.case_id = a.case_id
        and b.stain = a.stain
        and b.slice_idx = a.slice_idx
        and b.patch_idx = a.patch_idx
),

measures as (
    select
        run_a,
        run_b,
        case_id,
        any_value(n_patches) as n_patches,
        case when min(a) < max(a) and min(b) < max(b) then least(1, greatest(-1, corr(rank_a, rank_b))) end as spearman,
        count(*) filter (where top_a and top_b) / count(*) filter (where top_a or top_b) as jaccard,
        least(1, sum(a * b) / sqrt(sum(a * a) * sum(b * b))) as cosine,
        greatest(
            0,
            sum(if(a > 0, a * log2(a / middle), 0)) / 2
            + sum(if(b > 0, b * log2(b / middle), 0)) / 2
        ) as js_divergence,
        sum(a * ln((a + 1e-12) / (b + 1e-12))) as kl_divergence
    from patches_of_pairs
    group by all
    having count(*) = any_value(n_patches) and count(*) = any_value(n_patches_b)
)

select
    cases_of_pairs.run_a,
    split_a,
    seed_a,
    subset_a,
    cases_of_pairs.run_b,
    split_b,
    seed_b,
    subset_b,
    cases_of_pairs.case_id,
    measures.n_patches,
    measures.n_patches is not null as same_patches,
    spearman,
    jaccard,
    cosine,
    js_divergence,
    kl_divergence,
    said_a.p_true - said_b.probability as p_true_difference
from cases_of_pairs
join predictions as said_a on said_a.run_id = cases_of_pairs.run_a and said_a.case_id = cases_of_pairs.case_id
join probabilities as said_b
    on said_b.run_id = cases_of_pairs.run_b and said_b.case_id = cases_of_pairs.case_id and said_b.label = said_a.true_label
left join measures
    on measures.run_a = cases_of_pairs.run_a
    and measures.run_b = cases_of_pairs.run_b
    and measures.case_id = cases_of_pairs.case_id
left join cases on cases.case_id = cases_of_pairs.case_id
order by split_a, seed_a, cases_of_pairs.run_a, split_b, seed_b, cases_of_pairs.run_b, case_order nulls last, cases_of_pairs.case_id
