-- How many are the top pct percent of n: at least one, and no part of one.
create or replace macro top_count(n, pct) as greatest(1, floor(n * pct / 100));
