-- Whether a slice is of the stain that is asked for, and has the asked slice_name (match_1) or slice_idx (0), in any case of letters; null
-- asks for all.
create or replace macro slice_fits(stain, slice_name, slice_idx, asked_stain, asked_slice) as
lower(stain) = coalesce(lower(asked_stain), lower(stain))
and (asked_slice is null or lower(slice_name) = lower(asked_slice) or slice_idx::text = asked_slice);
