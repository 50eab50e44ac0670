-- Which stain leads in cases that are called right, and in cases that are called wrong?
-- grain: one row per stain and outcome
-- param share double = 0.5 [0.5, 1]: a stain leads a case if its attention is above this
-- columns: stain, outcome, cases

-- A question of a group's own. Copied into a store, it is a command with typed options; its chart lies beside it:
--
--     mkdir -p data/queries && cp examples/add_a_question.sql data/queries/leading-stains.sql
--     milstore query leading-stains --share 0.6
--     milstore plot leading-stains --chart ./examples/add_a_question.py -o leading.html
with leaders as (
    select distinct
        run_id,
        case_id,
        stain
    from selection
    join attention using (run_id, case_id)
    where stain_attention > $share
)

select
    stain,
    outcome,
    count(*) as cases
from leaders
join predictions_named using (run_id, case_id)
where outcome is not null
group by all
order by stain, outcome
