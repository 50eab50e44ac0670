"""What is in a store, at a glance."""

from milstore.store.broken_files import reading
from milstore.store.case_gaps import gaps
from milstore.store.catalog import is_behind
from milstore.store.derived import derived_runs
from milstore.store.names import named, natural_key
from milstore.store.paths import Store
from milstore.store.run_reader import strangers
from milstore.store.run_writer import list_drafts
from milstore.store.stain_change import pending
from milstore.store.views import connect

_COUNTS = """
select
    (select count(*) from cases),
    (select string_agg(class_name || ' ' || n, ', ' order by label)
     from (select label, class_name, count(*) as n from cases where label is not null group by all)),
    (select count(*) from cases where label is null),
    (select count(distinct group_id) from case_groups),
    (select count(*) from case_groups),
    (select list(stain order by stain_order) from stains),
    (select count(*) from slides),
    (select list(slide_id) from slides where slide_id not in (select slide_id from slices where slide_id is not null)),
    (select count(*) from slices),
    (select coalesce(sum(n_patches), 0) from slices),
    (select string_agg(encoder || ' (' || n_features || ' x ' || dtype || ', ' || n_patches || ' patches'
        || coalesce(' of ' || patch_px || ' px', '') || coalesce(' at ' || mpp || ' mpp', '') || ')', ', ' order by encoder)
     from encoders),
    (select string_agg(split_set || ' (' || n_splits || ' splits)', ', ' order by split_set) from split_sets),
    (select count(*) from runs where kind <> 'prediction'),
    (select string_agg(experiment || ' (' || n || ')', ', ' order by experiment)
     from (select experiment, count(*) as n from runs where kind <> 'prediction' group by experiment)),
    (select string_agg(distinct experiment, ', ' order by experiment) from runs where kind = 'prediction')
"""


def contents(store: Store) -> list[tuple[str, str]]:
    """What is in a store, as pairs of a word and a text. StoreError if a file of it cannot be read."""
    with reading(store):
        return _contents(store)


def _contents(store: Store) -> list[tuple[str, str]]:
    con = connect(store)
    counts = con.execute(_COUNTS).fetchall()[0]
    (
        cases, classes, unlabelled, groups, grouped, stains, slides, empty, slices, patches, encoders, split_sets, runs, experiments,
        predicted,
    ) = counts  # fmt: skip
    labels_of = con.execute("select case_id, label from cases").fetchall()
    missing = gaps(
        dict(labels_of), {case_id for (case_id,) in con.execute("select distinct case_id from slices").fetchall()}
    )
    words = [*([classes] if classes else []), *([f"without label {unlabelled}"] if unlabelled else [])]
    labels = ", ".join(
        [*words, *([f"without any patch {len(missing.without_patches)}"] if missing.without_patches else [])]
    )
    drafts = [draft.run_id for draft in list_drafts(store)]
    among = strangers(store)
    derived = derived_runs(store)
    coming = pending(store, stains or [])
    return [
        ("cases", f"{cases} ({labels})" if labels else str(cases)),
        *[("look alike", f"{line}: milstore splits check") for line in missing.alike_lines()],
        *([("groups of cases", f"{groups} (of {grouped} cases)")] if groups else []),
        ("stains", f"{', '.join(stains or ['none'])}{f' ({coming})' if coming else ''}"),
        *([("slides", _slides(slides, sorted(empty or [], key=natural_key)))] if slides else []),
        ("slices", str(slices)),
        ("patches", str(patches)),
        ("features", encoders or "none: milstore encode or milstore ingest features"),
        ("split sets", split_sets or "none: milstore splits make or milstore ingest splits"),
        ("finished runs", f"{runs} ({experiments})" if runs else "none: milstore train --split 1"),
        *([("predictions", f"{predicted}: ask of one by --prediction NAME")] if predicted else []),
        *([("strangers in runs/", f"{named(among)}: read by nothing (milstore doctor)")] if among else []),
        *([("computed of runs", f"{len(derived)} ({named(derived)})")] if derived else []),
        ("unfinished runs", ", ".join(drafts) or "none"),
        ("cohort fingerprint", store.manifest()["fingerprint"][:12]),
        (
            store.database.name,
            "behind the store: the next ingest or milstore info refreshes it" if is_behind(store) else "up to date",
        ),
    ]


def _slides(count: int, empty: list[str]) -> str:
    """How many slides there are, and which have no patches."""
    return f"{count} (without patches {len(empty)}: {named(empty)})" if empty else str(count)
