-- One row per run, case, stain and slice: what the run's attention gave to the slice, and how large it was.
create or replace view slice_weights as
select
    run_id,
    case_id,
    stain,
    slice_idx,
    any_value(stain_attention) as stain_attention,
    any_value(slice_attention) as slice_attention,
    any_value(stain_attention)::double * any_value(slice_attention)::double as slice_effective_attention,
    count(*) as slice_patches,
    any_value(n_patches) as n_patches
from attention
group by run_id, case_id, stain, slice_idx;
