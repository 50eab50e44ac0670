-- Which stains and slices a case's most attended patches come from.
-- The top patches of a case are the greatest(1, floor(n * pct / 100)) patches of highest effective attention, and
-- top_attention is the share of the case's attention that they hold. Lift is a slice's share of the top patches over its
-- share of all patches: 1 is what an even spread would give. Tied are top patches whose attention, to six digits, is that
-- of a patch left out: names decide which of these are counted, so lift shares their places among all that are equal.
-- needs: top
-- scores: yes
-- grain: one row per run, case, stain and slice
-- param pct double = 5 [0, 100]: share of the case's patches that count as top, in percent
-- param top integer = null [1, ]: number of top patches, in place of a share
-- columns: run_id, case_id, subset, true_label, pred_label, stain, slice_idx, slice_name, top_patches, slice_patches, lift, stain_top_patches, stain_patches, stain_lift, case_top_patches, case_patches, top_attention, stain_top_attention, case_top_attention, tied_patches, case_tied_patches
-- shown: case_id, stain, slice_name, top_patches, slice_patches, top_attention, lift, stain_lift
-- told: top_patches.told
-- report: top_patches.report

with tops as (
    -- With the first patch that is left out.
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        rank,
        effective_attention::double as weight,
        coalesce($top::integer, top_count(n_patches, $pct::double)) as cut
    from attention
    where
        rank <= coalesce($top::integer, top_count(n_patches, $pct::double)) + 1
        -- The same for the largest case: a number that is known before the file is read, so that most rows are skipped.
        and rank <= coalesce(
            $top::integer, top_count(coalesce(getvariable('largest_case'), 2147483647), $pct::double)::integer
        ) + 1
),

tied_cases as (
    select
        run_id,
        case_id,
        any_value(cut) as cut,
        max(weight) filter (where rank = cut) as last_weight,
        max(weight) filter (where rank = cut + 1) as next_weight
    from tops
    group by run_id, case_id
    having next_weight >= last_weight * (1 - 1e-6)
),

-- Taken or left out. In most answers no case is tied, and then nothing is read.
equals as (
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        count(*) as equal_patches,
        count(*) filter (where rank <= cut) as tied_patches
    from attention
    join tied_cases using (run_id, case_id)
    where effective_attention::double between next_weight * (1 - 1e-6) and last_weight * (1 + 1e-6)
    group by all
),

top_of_slice as (
    select run_id, case_id, stain, slice_idx, count(*) as top_patches, sum(weight) as top_attention
    from tops
    where rank <= cut
    group by all
),

slices_counted as (
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        coalesce(top_patches, 0) as top_patches,
        coalesce(top_attention, 0) as top_attention,
        coalesce(tied_patches, 0) as tied_patches,
        coalesce(equal_patches, 0) as equal_patches,
        evaluated as slice_patches
    from coverage
    join selection using (run_id, case_id)
    left join top_of_slice using (run_id, case_id, stain, slice_idx)
    left join equals using (run_id, case_id, stain, slice_idx)
    where evaluated > 0
),

cases_asked as (
    select
        run_id,
        case_id,
        sum(top_patches)::bigint as case_top_patches,
        sum(slice_patches)::bigint as case_patches,
        sum(top_attention) as case_top_attention,
        sum(tied_patches)::bigint as case_tied_patches,
        sum(equal_patches)::bigint as case_equal_patches
    from slices_counted
    group by all
),

slices_of_case as (
    select
        slices_counted.*,
        cases_asked.* exclude (run_id, case_id),
        -- Places that are tied for, shared among all patches that are equal.
        top_patches - tied_patches
        + if(case_tied_patches > 0, case_tied_patches * equal_patches / case_equal_patches, 0) as shared_top
    from slices_counted
    join cases_asked using (run_id, case_id)
),

stains_of_case as (
    select
        run_id,
        case_id,
        stain,
        sum(top_patches)::bigint as stain_top_patches,
        sum(slice_patches)::bigint as stain_patches,
        sum(shared_top) as stain_shared_top,
        sum(top_attention) as stain_top_attention
    from slices_of_case
    group by all
),

stains_described as (
    select *
    from stains_of_case
    join selection using (run_id, case_id)
    join predictions using (run_id, case_id)
    left join cases using (case_id)
    left join stains using (stain)
)

select
    run_id,
    case_id,
    stains_described.subset,
    true_label,
    pred_label,
    stain,
    slice_idx,
    slice_name,
    top_patches,
    slice_patches::bigint as slice_patches,
    (shared_top * case_patches) / (case_top_patches * slice_patches) as lift,
    stain_top_patches,
    stain_patches,
    (stain_shared_top * case_patches) / (case_top_patches * stain_patches) as stain_lift,
    case_top_patches,
    case_patches,
    top_attention,
    stain_top_attention,
    case_top_attention,
    tied_patches,
    case_tied_patches
from slices_of_case
join stains_described using (run_id, case_id, stain)
left join slices using (case_id, stain, slice_idx)
order by case_order nulls last, case_id, run_id, stain_order nulls last, stain, natural_order(slice_name), slice_idx
