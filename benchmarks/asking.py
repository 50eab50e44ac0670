"""How fast questions are answered, as ratios to bounds and rivals timed in the same run.

    python -m benchmarks.asking [FOLDER] [--rounds 5] [--only cold,open,verify,composition,rival,charts,report]

FOLDER keeps the stores of many runs, the demo and the rival's files from one time to the next. Every row is printed as
it is measured; with --page the rows are put into the asking part of docs/performance.md.
"""

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import duckdb

from benchmarks.commands import bare_program, milstore, python, run_program
from benchmarks.files import Rival, answer_of_rival, write_files
from benchmarks.make_runs import SMALL, Shape, make_runs
from benchmarks.page import HEAD, Row, machine, put_on_page, table
from benchmarks.parts import add_only
from benchmarks.rounds import Timed, in_rounds
from milstore import queries
from milstore.asking.ask import ask, connect_locked
from milstore.asking.selection import Choice, select
from milstore.charts import charted
from milstore.charts.render import drawing
from milstore.charts.save import as_html
from milstore.errors import UsageError
from milstore.store import Store, open_store
from milstore.store.run_reader import run_ids
from milstore.store.sql_text import literal, path_literal
from milstore.store.verified import files_of_runs, verify
from milstore.store.views import connect, rows_of_runs

CASE = "46"
TOP = "rank <= greatest(1, n_patches * 5 // 100)"
"""The top 5% of a case's patches."""
SLOWEST = 5
"""Charts that the table names."""
PAIRED = {"compare-runs": Choice(seed=0)}
"""Without a seed it compares every run of an experiment with every other."""


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    folder: Path
    shape: Shape
    small: Shape
    rounds: int
    rival_runs: int
    """Runs whose files the rival reads."""
    window_runs: int
    """Runs that are ranked by window functions."""

    @cached_property
    def large_store(self) -> Store:
        return make_runs(self.folder / "large", self.shape)

    @cached_property
    def small_store(self) -> Store:
        return make_runs(self.folder / "small", self.small)

    @cached_property
    def demo(self) -> Store:
        folder = self.folder / "demo"
        if not (folder / "cohort").exists():
            run_program(milstore("demo", "--store", str(folder)))
        if len(run_ids(open_store(folder))) < 5:
            run_program(milstore("train", "--split", "all", "--store", str(folder)))
        return open_store(folder)

    @property
    def case(self) -> str:
        """The case that is asked for: of a small store there may be no 46."""
        return CASE if self.shape.cases >= int(CASE) else "1"


def ratio_row(timed: Timed, ours: str, other: str, what: str, most: float | None) -> Row:
    """Ours over a bound."""
    ratio = timed.ratio(ours, other)
    seconds = f"{timed.seconds(ours):.3f} against {timed.seconds(other):.3f}"
    return Row(
        what,
        f"{ratio:.2f} ×",
        "–" if most is None else f"≤ {most:g} ×",
        None if most is None else ratio <= most,
        seconds,
    )


def faster_row(timed: Timed, ours: str, other: str, what: str, least: float, times: float = 1) -> Row:
    """A rival, that did 1 / `times` of the work, over ours."""
    ratio = times * timed.ratio(other, ours)
    scaled = f"{timed.seconds(other):.2f}" if times == 1 else f"{times:g} × {timed.seconds(other):.2f}"
    return Row(what, f"{ratio:.1f} ×", f"≥ {least:g} ×", ratio >= least, f"{timed.seconds(ours):.3f} against {scaled}")


def seconds_row(timed: Timed, name: str, what: str, most: float) -> Row:
    """Seconds that are promised as such."""
    seconds = timed.seconds(name)
    shown = f"{1000 * seconds:.0f} ms" if most < 1 else f"{seconds:.2f} s"
    limit = f"< {1000 * most:.0f} ms" if most < 1 else f"< {most:g} s"
    return Row(what, shown, limit, seconds < most, "–")


def cold_rows(bench: Bench) -> Iterator[Row]:
    """Whole processes, from the shell to the last line of the answer."""
    for store, words, case in (
        (bench.demo, "the demo, five runs", CASE),
        (bench.large_store, f"{bench.shape.runs} runs of {bench.shape.patches:,} patches", bench.case),
    ):
        program = bare_program(store, case)
        question = milstore("query", "top-patches", "--case", case, "--store", str(store.root))
        timed = in_rounds(
            {"query": lambda q=question: run_program(q), "bare": lambda p=program: run_program(python(p))},
            2 * bench.rounds,
        )
        what = f"`milstore query top-patches --case {case}` / `python -c` with duckdb and the same SQL on the same files: {words}"
        yield ratio_row(timed, "query", "bare", what, 1.6)
    timed = in_rounds(
        {"help": lambda: run_program(milstore("--help")), "typer": lambda: run_program(python("import typer"))},
        2 * bench.rounds,
    )
    yield ratio_row(timed, "help", "typer", '`milstore --help` / `python -c "import typer"`', 2)


def verify_rows(bench: Bench) -> Iterator[Row]:
    """Comparing what is read with what was stored: all attention of all runs, the first time and later."""
    store, remembered = bench.large_store, os.environ.get("XDG_CACHE_HOME")
    files = list(files_of_runs(store, run_ids(store), {"attention"}))
    size = sum((store.root / each.path).stat().st_size for each in files)

    def first() -> None:
        with tempfile.TemporaryDirectory() as empty:
            os.environ["XDG_CACHE_HOME"] = empty
            verify(store, files)

    def hashed() -> None:
        for each in files:
            with (store.root / each.path).open("rb", buffering=0) as stream:
                hashlib.file_digest(stream, "sha256")

    try:
        timed = in_rounds({"first": first, "sha256": hashed}, bench.rounds)
        with tempfile.TemporaryDirectory() as kept:
            os.environ["XDG_CACHE_HOME"] = kept
            verify(store, files)
            later = in_rounds({"later": lambda: verify(store, files) and None}, 3 * bench.rounds)
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        os.environ |= {} if remembered is None else {"XDG_CACHE_HOME": remembered}
    rows = f"{bench.shape.runs * bench.shape.patches:,} rows of attention ({size / 1e9:.2f} GB, {len(files)} files)"
    what = f"comparing {rows} with what was stored, the first time / SHA-256 of the same bytes"
    yield ratio_row(timed, "first", "sha256", what, 1.2)
    yield seconds_row(later, "later", f"comparing {rows}, later", 0.030)


def open_rows(bench: Bench) -> Iterator[Row]:
    """In a process that has imported everything, such as a notebook."""
    large = bench.large_store
    run = run_ids(large)[0]

    def one_case() -> None:
        ask(large, "top-patches", Choice(run=run, cases=(bench.case,))).arrow()

    def open_it(store: Store) -> None:
        # With a view of every table over all runs, and the runs found that answer if none is named.
        opened = open_store(store.root)
        with connect_locked(opened) as con:
            select(con, opened, Choice())

    stores = {"large": large, "small": bench.small_store}
    timed = in_rounds(
        {"case": one_case, **{name: lambda s=store: open_it(s) for name, store in stores.items()}}, 3 * bench.rounds
    )
    rows = bench.shape.runs * bench.shape.patches
    yield seconds_row(timed, "case", f"top-patches of one case of one run, in process, {rows:,} rows present", 0.030)
    for name, shape, most in (("large", bench.shape, 0.050), ("small", bench.small, 0.300)):
        what = f"opening the store of {shape.runs:,} runs: every view made, and the runs found that answer"
        yield seconds_row(timed, name, what, most)


def composition_rows(bench: Bench) -> Iterator[Row]:
    """Where the top 5% of every case's patches lie."""
    store = bench.large_store
    run = run_ids(store)[0]
    con, bare = connect(store), duckdb.connect()
    of_run = f"read_parquet({path_literal(store.run_folder(run) / 'attention.parquet')}, hive_partitioning = false)"
    of_all = rows_of_runs(store, run_ids(store), "attention")
    con.execute(f"create temp view attention_of_run as select * from {of_run}")
    plain = f"select case_id, count(*), sum(effective_attention) from {of_run} group by case_id"
    top = f"select case_id, stain, count(*) from attention_of_run where {TOP} group by all"
    scan = f"select count(run_id), max(stain), sum(rank), sum(n_patches) from {of_all}"
    tops = f"select run_id, stain, count(*) from attention where {TOP} group by all"

    def asked() -> None:
        ask(store, "top-patches", Choice(run=run, subset="all")).arrow()

    timed = in_rounds(
        {
            "plain": lambda: bare.execute(plain).to_arrow_table(),
            "top": lambda: con.execute(top).to_arrow_table(),
            "question": asked,
        },
        3 * bench.rounds,
    )
    of_one = "`count, sum … group by case_id` of the run"
    yield ratio_row(timed, "top", "plain", f"top 5% by case and stain, all cases of one run / {of_one}", 1.5)
    what = (
        f"the whole question top-patches of all cases of the run, from the connection to the ordered table / {of_one}"
    )
    yield ratio_row(timed, "question", "plain", what, None)
    timed = in_rounds(
        {"scan": lambda: bare.execute(scan).fetchall(), "tops": lambda: con.execute(tops).fetchall()}, bench.rounds
    )
    what = f"top 5% by run and stain, {bench.shape.runs} runs / scan of run_id, stain, rank and n_patches"
    yield ratio_row(timed, "tops", "scan", what, 3)
    some = f"run_id in ({', '.join(map(literal, run_ids(store)[: bench.window_runs]))})"
    windowed = (
        f"with ranked as (select run_id, stain, count(*) over of_case as n, row_number() over (of_case order by "
        f"effective_attention desc) as place from {of_all} where {some} window of_case as (partition by run_id, case_id)) "
        "select run_id, stain, count(*) from ranked where place <= greatest(1, n * 5 // 100) group by all"
    )
    timed = in_rounds(
        {
            "tops": lambda: con.execute(tops.replace("where", f"where {some} and")).fetchall(),
            "windowed": lambda: bare.execute(windowed).fetchall(),
        },
        bench.rounds,
    )
    what = f"the same of {bench.window_runs} runs, ranked by window functions / by the stored rank"
    yield faster_row(timed, "tops", "windowed", what, 20)


def rival_rows(bench: Bench) -> Iterator[Row]:
    """One file a run, read by pandas."""
    store = bench.large_store
    runs = run_ids(store)[: bench.rival_runs]
    times = bench.shape.runs / len(runs)
    con = connect_locked(store)
    tops = f"select run_id, stain, count(*) from attention where {TOP} group by all"
    of_case = tops.replace("where", f"where case_id = {literal(bench.case)} and")
    for kind in ("npz", "csv"):
        files = write_files(store, runs, bench.folder / f"files-{bench.shape.cases}x{bench.shape.patches}", kind)
        for words, sql, case, least in (
            (f"case {bench.case}", of_case, bench.case, 50),
            ("all cases", tops, None, 10),
        ):
            rival = Rival(files, case)
            check_same(con.execute(sql).fetchall(), rival)
            timed = in_rounds(
                {"ours": lambda s=sql: con.execute(s).fetchall(), "rival": rival.answer},
                bench.rounds,
            )
            what = f"top 5% by run and stain, {words}: pandas over {bench.shape.runs} .{kind} files / ours"
            yield faster_row(timed, "ours", "rival", what, least, times)


def check_same(ours: list[tuple[str, str, int]], rival: Rival) -> None:
    """A rival that answers something else is none."""
    theirs = answer_of_rival(rival)
    if theirs != {(run, stain): n for run, stain, n in ours if run in rival.runs}:
        raise SystemExit("the rival's answer is not ours")


def charts_rows(bench: Bench) -> Iterator[Row]:
    """Every chart, as the command draws it where nothing else is said."""
    store = bench.large_store
    choices, left_out = {}, []
    for name in charted():
        cases = (bench.case,) if queries.load(name).wants_case else ()
        choices[name] = replace(PAIRED.get(name, Choice()), cases=cases)
        try:
            drawing(store, name, choices[name])
        except UsageError as error:
            left_out.append(f"{name} ({error})")
            del choices[name]
    drawn = {name: lambda n=name: as_html(drawing(store, n, choices[n])) for name in choices}
    timed = in_rounds(drawn, bench.rounds)
    slowest = sorted(choices, key=timed.seconds, reverse=True)[:SLOWEST]
    rows = bench.shape.runs * bench.shape.patches
    for name in slowest:
        yield seconds_row(timed, name, f"chart {name} from {rows:,} rows, in process, as a page", 2)
    with tempfile.TemporaryDirectory() as place:

        def command(name: str) -> Callable[[], object]:
            choice = choices[name]
            words = [*(("--case", bench.case) if choice.cases else ()), *(("--seed", "0") if name in PAIRED else ())]
            page = f"{place}/{name}.html"
            return lambda: run_program(milstore("plot", name, *words, "--store", str(store.root), "-o", page))

        once = in_rounds({name: command(name) for name in choices}, 1, warm=False)
        slowest = sorted(choices, key=once.seconds, reverse=True)[:SLOWEST]
        timed = in_rounds({name: command(name) for name in slowest}, bench.rounds)
    for name in sorted(slowest, key=timed.seconds, reverse=True):
        yield seconds_row(timed, name, f"`milstore plot {name}`, the whole command", 2)
    others = [once.seconds(name) for name in choices if name not in slowest]
    if others:
        yield Row(
            f"the other {len(others)} charts as commands, the slowest",
            f"{max(others):.2f} s",
            "< 2 s",
            max(others) < 2,
            "–",
        )
    for words in left_out:
        print(f"not drawn: {words}")


def report_rows(bench: Bench) -> Iterator[Row]:
    """The page of an experiment of five runs."""
    with tempfile.TemporaryDirectory() as place:
        words = milstore("report", "--store", str(bench.demo.root), "-o", f"{place}/report.html")
        timed = in_rounds({"report": lambda: run_program(words)}, bench.rounds)
    yield seconds_row(timed, "report", "`milstore report` of the demo experiment, five runs", 15)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "cold": cold_rows,
    "open": open_rows,
    "verify": verify_rows,
    "composition": composition_rows,
    "rival": rival_rows,
    "charts": charts_rows,
    "report": report_rows,
}

NOTES = """\
The page cache is warm throughout. A cold command is a whole process with its answer. The bare program that it is held
against is told which run answers, which milstore has to find out, and sees the files of that run alone. In the store of
small runs each has {small.patches:,} patches of {small.cases} cases.

The rival keeps a file a run, with a row a patch, and reads the columns that it needs: of a `.npz` the arrays of cases
(whole numbers), stains and effective attention, of a `.csv` the same three columns with their types said. It reads the
files of {rival_runs} runs, and its time is multiplied by {times:g} to stand for {shape.runs} of them, while ours is of
all {shape.runs}, of a connection that has asked before. Both give the same numbers.

Charts are of what the command takes by default: the test subsets of one seed's five runs, which are the
{shape.cases:,} cases, each of them once; `compare-runs` compares these five runs, over all of their cases, and not
all {shape.runs} with each other. Patches have no places here: slice-map needs some, and slice-pattern leaves out the
permutation test that it would make of them."""


def about(bench: Bench, load_before: float) -> str:
    """The machine, the sizes, and how busy it was."""
    return (
        f"{machine('duckdb', 'pyarrow', 'pandas', 'altair')}; {bench.shape.runs} runs of {bench.shape.patches:,} patches in "
        f"{bench.shape.cases:,} cases, and {bench.small.runs:,} small runs; medians of {bench.rounds} rounds or more; "
        f"load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after."
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(tempfile.gettempdir()) / "milstore-benchmarks" / "asking"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=Shape.runs)
    parser.add_argument("--patches", type=int, default=Shape.patches, help="patches of a run")
    parser.add_argument("--cases", type=int, default=Shape.cases)
    parser.add_argument("--small", type=int, default=SMALL.runs, help="small runs")
    parser.add_argument("--rival-runs", type=int, default=5, help="runs whose files the rival reads")
    parser.add_argument("--window-runs", type=int, default=20, help="runs that are ranked by window functions")
    add_only(parser, PARTS)
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    shape = Shape(runs=options.runs, cases=options.cases, patches=options.patches)
    small = replace(SMALL, runs=options.small)
    rival_runs, window_runs = (min(each, shape.runs) for each in (options.rival_runs, options.window_runs))
    bench = Bench(options.folder, shape, small, options.rounds, rival_runs, window_runs)
    load = os.getloadavg()[0]
    print(HEAD)
    rows = []
    for part in options.only:
        for row in PARTS[part](bench):
            print(row, flush=True)
            rows.append(row)
    print(f"\n{about(bench, load)}")
    if options.page:
        notes = NOTES.format(shape=shape, small=small, rival_runs=rival_runs, times=shape.runs / rival_runs)
        put_on_page("Asking", table(about(bench, load), rows, notes))


if __name__ == "__main__":
    main()
