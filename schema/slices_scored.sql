-- The slices of a case that are asked for, with what a score says of their patches: all, those of a stain, or those of a
-- slice_name (match_1) or slice_idx (0). A text that is the name of one slice and the number of another means the one of
-- that name. Where no patch of such a slice has the score it is an error, which names the slices of those that have.
create or replace macro slices_scored(asked_name, asked_case, asked_stain, asked_slice) as table
with slices_of_case as (
    select
        run_id,
        case_id,
        stain,
        slice_idx,
        any_value(slice_name) as slice_name,
        count(*) as slice_patches,
        max(value) as highest_score,
        avg(value) as mean_score,
        min(value) as lowest_score,
        count(*) over (partition by run_id) as case_slices,
        slice_fits(stain, any_value(slice_name), slice_idx, asked_stain, asked_slice) as fits,
        coalesce(lower(any_value(slice_name)) = lower(asked_slice), false) as by_name
    from scores
    left join slices using (case_id, stain, slice_idx)
    where name = asked_name and case_id = asked_case
    group by run_id, case_id, stain, slice_idx
),
slices_there as (
    select distinct
        stain,
        slice_name,
        slice_idx,
        stain || ' ' || coalesce(slice_name || ' (' || slice_idx || ')', slice_idx::text) as said
    from slices_of_case
),
checked as (
    select if(
        coalesce(bool_or(fits), false),
        true,
        error(
            'case ' || asked_case || ' has no such slice with this score: it has '
            || (select string_agg(said, ', ' order by stain, natural_order(slice_name), slice_idx) from slices_there)
        )
    ) as there
    from slices_of_case
)
select slices_of_case.* exclude (fits, by_name)
from slices_of_case
cross join checked
where there and fits
qualify by_name = max(by_name) over ();
