-- How did each training go, and which epoch was kept?
-- Losses are the mean class-weighted cross-entropy in nats; the training loss is measured with dropout, the validation
-- loss without. The kept epoch is the one whose weights were restored and evaluated.
-- grain: one row per run and epoch
-- over: runs
-- columns: split, seed, epoch, train_loss, val_loss, train_accuracy, val_accuracy, learning_rate, rate_dropped, kept, run_id
-- shown: split, seed, epoch, train_loss, val_loss, train_accuracy, val_accuracy, learning_rate, kept

with chosen as (
    select distinct run_id
    from selection
)

select
    runs.split,
    runs.seed,
    epochs.epoch,
    epochs.train_loss,
    epochs.val_loss,
    epochs.train_accuracy,
    epochs.val_accuracy,
    epochs.learning_rate,
    coalesce(
        learning_rate < lag(learning_rate) over (partition by run_id order by epochs.epoch),
        false
    ) as rate_dropped,
    coalesce(epochs.epoch = runs.best_epoch, false) as kept,
    run_id
from epochs
join chosen using (run_id)
join runs using (run_id)
order by runs.split_set, runs.split, runs.seed, run_id, epochs.epoch
