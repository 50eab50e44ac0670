-- Where do each run's numbers come from: its split, seed, job, checkpoint and data?
-- Of a SHA-256, the first 12 letters stand for the whole. Runs of one experiment agree in config and, where nothing was
-- changed between them, in cohort, features and patches.
-- grain: one row per run
-- over: runs
-- param full boolean = false: give each SHA-256 whole
-- columns: run_id, experiment, split_set, split, seed, slurm_job_id, best_epoch, n_epochs, weights, cohort, features, patches, config, code_version, host, device, threads, restarts, started_at, finished_at
-- shown: run_id, best_epoch, n_epochs, config, cohort, features

with runs_asked as (
    select *, if($full::boolean, 64, 12) as letters
    from runs
    where run_id in (select run_id from selection)
)

select
    run_id,
    experiment,
    split_set,
    split,
    seed,
    slurm_job_id,
    best_epoch,
    n_epochs,
    nullif(weights_sha256, '')[:letters] as weights,
    cohort_fingerprint[:letters] as cohort,
    features_fingerprint[:letters] as features,
    patches_fingerprint[:letters] as patches,
    config_hash[:letters] as config,
    code_version,
    host,
    device,
    threads,
    restarts,
    started_at,
    finished_at
from runs_asked
order by experiment, split_set, split, seed, started_at, run_id
