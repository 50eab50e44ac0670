-- Whether attention finds the nests of atypical cells that the demo planted in its high-grade cases.
-- AUC: the chance that a planted patch of the case has more effective attention than another patch of the case, ties
-- counted half (the rank-sum formula). 0.5 is blind chance. mean_auc is the mean of auc over the rows.
-- grain: one row per run and case with a planted patch
-- columns: run_id, case_id, subset, true_label, pred_label, patches, planted, planted_attention, auc, mean_auc

with patches_of_case as (
    select
        run_id,
        case_id,
        selection.subset,
        effective_attention,
        planted.case_id is not null as is_planted
    from attention
    join selection using (run_id, case_id)
    left join planted using (case_id, stain, slice_idx, patch_idx)
    where case_id in (select case_id from planted)
),

ranked as (
    -- The middle of the ranks, counted from the lowest, that patches of equal attention share.
    select
        *,
        rank() over (partition by run_id, case_id order by effective_attention)
        + (count(*) over (partition by run_id, case_id, effective_attention) - 1) / 2 as middle_rank
    from patches_of_case
),

found as (
    select
        run_id,
        case_id,
        subset,
        count(*) as patches,
        count(*) filter (where is_planted) as planted,
        sum(effective_attention) filter (where is_planted) as planted_attention,
        (sum(middle_rank) filter (where is_planted) - planted * (planted + 1) / 2)
        / nullif(planted * (patches - planted), 0) as auc
    from ranked
    group by all
)

select
    found.run_id,
    found.case_id,
    found.subset,
    predictions.true_label,
    predictions.pred_label,
    patches,
    planted,
    planted_attention,
    auc,
    avg(auc) over () as mean_auc
from found
join predictions using (run_id, case_id)
left join cases using (case_id)
order by case_order nulls last, case_id, run_id
