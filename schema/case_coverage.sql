-- One row per run and case: what the run saw of the case, and which stains of the store are not in it.
-- By coverage, as a run need not have attention. A case of which no patch was evaluated is left out.
create or replace view case_coverage as
with seen as (
    select
        run_id,
        case_id,
        sum(evaluated)::integer as patches,
        count(*) as slices,
        list(distinct stain) as stains_there
    from coverage
    where evaluated > 0
    group by run_id, case_id
)
select
    run_id,
    case_id,
    patches,
    slices,
    string_agg(stain, ', ' order by stain_order) as missing_stains
from seen
left join stains on not list_contains(stains_there, stain)
group by run_id, case_id, patches, slices;
