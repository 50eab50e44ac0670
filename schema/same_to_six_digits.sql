-- Whether two numbers are the same to six digits, of either sign: as far as attention and scores are told apart. Null is no number's
-- equal.
create or replace macro same_to_six_digits(one, other) as
coalesce(abs(one - other) <= 1e-6 * greatest(abs(one), abs(other)), false);
