-- Where on its slices a case's attention lies.
-- The patches of all slices of the case, or of the stain or slice that is given, at their places, and the shade that each
-- is painted in. The shade is by log: powers of ten above the even share of the case's patches, not below -6; or by rank:
-- from 0 for the case's least attended patch to 1 for its most attended (ties share one). Lowest_shade and highest_shade
-- are those of the whole case, whichever slices are asked for: one scale for all. Outlined are the fewest patches that
-- together hold a share of the case's attention, half unless said; half_patches is how many these are in the case. Tied are
-- those of them whose attention, to six digits, is that of a patch that is not outlined: among equals names decide.
-- needs: whole
-- scores: yes
-- grain: one row per run and patch, by stain and slice, in the order of patch_idx
-- param case text: the case
-- param stain text = null: only slices of this stain
-- param slice text = null: only the slice of this slice_name (match_1) or slice_idx (0)
-- param scale text = log: log or rank
-- param share double = 50 [0, 100]: outlined are the fewest patches that hold so many percent of the case's attention
-- columns: run_id, case_id, subset, true_class, pred_class, outcome, stain, slice_idx, slice_name, slice_patches, slice_effective_attention, patch_idx, effective_attention, times_even, rank, outlined, tied, shade, lowest_shade, highest_shade, half_patches, case_slices, case_patches, x, y, width, height, file
-- shown: stain, slice_name, patch_idx, effective_attention, times_even, rank, outlined
-- told: patch_lists.told_of_map

with asked as (
    select case lower($scale::text)
        when 'rank' then 'rank'
        when 'log' then 'log'
        else error('scale is ''' || $scale::text || ''': use log or rank')
    end as scale
),

weights as (
    select
        attention.* exclude (effective_attention),
        effective_attention::double as weight,
        selection.subset,
        -- What the patches before this one hold.
        sum(effective_attention::double) over by_rank - effective_attention::double as before,
        sum(effective_attention::double) over (partition by run_id) as whole,
        percent_rank() over (partition by run_id order by effective_attention) as place
    from attention
    join selection using (run_id, case_id)
    where case_id = $case::text
    window by_rank as (partition by run_id order by rank rows unbounded preceding)
),

shaded as (
    select
        *,
        -- Sums of floats are right to some six digits.
        before < whole * $share::double / 100 - 1e-6 as outlined,
        if(scale = 'rank', place, log10(greatest(weight * n_patches, 1e-6))) as shade
    from weights
    cross join asked
),

described as (
    select
        *,
        min(shade) over of_run as lowest_shade,
        max(shade) over of_run as highest_shade,
        count(*) filter (where outlined) over of_run as half_patches,
        max(weight) filter (where not outlined) over of_run as next_weight
    from shaded
    window of_run as (partition by run_id)
)

select
    described.run_id,
    case_id,
    described.subset,
    true_class,
    pred_class,
    outcome,
    stain,
    slice_idx,
    slice_name,
    slice_patches,
    slice_effective_attention,
    patch_idx,
    weight as effective_attention,
    weight * described.n_patches as times_even,
    rank,
    outlined,
    outlined and same_to_six_digits(weight, next_weight) as tied,
    shade,
    lowest_shade,
    highest_shade,
    half_patches,
    case_slices,
    described.n_patches as case_patches,
    patches.x,
    patches.y,
    patches.width,
    patches.height,
    patches.file
from described
join slices_asked($case::text, $stain::text, $slice::text) using (run_id, case_id, stain, slice_idx)
join predictions_named using (run_id, case_id)
left join stains using (stain)
left join patches using (case_id, stain, slice_idx, patch_idx)
order by run_id, stain_order nulls last, stain, natural_order(slice_name), slice_idx, patch_idx
