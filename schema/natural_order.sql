-- A text to sort names by in natural order, match_2 before match_10: each number is written with 20 digits.
create or replace macro natural_order(name) as
regexp_replace(regexp_replace(name, '([0-9]+)', '00000000000000000000\1', 'g'), '[0-9]*([0-9]{20})', '\1', 'g');
