-- One row per run and case: the probabilities of all classes, in the order of the classes' numbers.
-- A class that the store no longer knows is called by its number. The margin is half the difference of the two largest
-- probabilities: how far the call was from turning.
create or replace view case_probabilities as
select
    run_id,
    case_id,
    list(label order by label) as labels,
    list(coalesce(class_name, 'class ' || label) order by label) as class_names,
    list(probability order by label) as probabilities,
    (max(probability, 2)[1] - max(probability, 2)[2]) / 2 as margin
from probabilities
left join classes using (label)
group by run_id, case_id;
