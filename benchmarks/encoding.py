"""How fast a slide is encoded by a network, as ratios to the network and to openslide alone, in the same run.

    python -m benchmarks.encoding [FOLDER] [--rounds 3] [--side 46]

A slide of side x side tiles is drawn; start-up (importing, loading the network) is not counted. With --page the rows are put
into the encoding part of docs/performance.md.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from time import perf_counter

import numpy as np
import onnxruntime
import openslide
from onnx import TensorProto, helper, numpy_helper, save

from benchmarks.drawn_slide import TILE, draw_slide, store_of
from benchmarks.page import HEAD, Row, machine, put_on_page, table
from milstore.encoders.computing import compute
from milstore.encoders.encoder_folder import read_encoder_folder
from milstore.encoders.encoding_plan import BATCH, FolderOptions, Plan, plan_encoding
from milstore.encoders.preprocessing import prepared
from milstore.processors import processors

SIZE = 224
NOTES = """The network is a stack of seven convolutions, which takes about as long as the light ones in use; heavier ones hide
more of the reading. "Within encode" counts the seconds in which `encode` waits for the network's answer, while its threads
read the next batches on the same processors; "bare" is onnxruntime on the same batches, which are in memory. The whole of
`encode` is held against two things done one after the other, each with all processors: openslide reading the same tiles,
and the network bare."""


def network(folder: Path) -> Path:
    """An encoder's folder with a network of seven convolutions."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    nodes, constants, before = [], [], "pixels"
    for number, (channels, stride) in enumerate([(3, 2)] + [(32, 1)] * 6):
        weight = draw.normal(scale=(2 / (channels * 9)) ** 0.5, size=(32, channels, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"w{number}"))
        pads = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
        nodes.append(helper.make_node("Conv", [before, f"w{number}"], [f"c{number}"], **pads))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        before = f"r{number}"
    nodes += [helper.make_node("GlobalAveragePool", [before], ["g"]), helper.make_node("Flatten", ["g"], ["features"])]
    shape = ["n", 3, SIZE, SIZE]
    ends = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)]
    given = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 32])]
    graph = helper.make_graph(nodes, "stack", ends, given, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    (folder / "encoder.toml").write_text(
        f'name = "stack"\nlicence = "none"\nsize = {SIZE}\nresize = {SIZE}\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]\n'
        'pooling = "pooled"\nmpp = 0.5\n',
        encoding="utf-8",
    )
    return folder


def read_bare(slide: Path, side: int) -> list[np.ndarray]:
    """Every tile by openslide, by as many threads as there are processors, each with a handle of its own."""
    mine = local()

    def read(number: int) -> np.ndarray:
        if not hasattr(mine, "slide"):
            mine.slide = openslide.OpenSlide(slide)
        corner = (number % side * TILE, number // side * TILE)
        return np.asarray(mine.slide.read_region(corner, 0, (TILE, TILE)).convert("RGB"))

    with ThreadPoolExecutor(processors()) as threads:
        return list(threads.map(read, range(side * side), chunksize=16))


def run_bare(plan: Plan, images: list[np.ndarray]) -> float:
    """Seconds of the network on the same batches, which are made beforehand."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = processors()
    session = onnxruntime.InferenceSession(
        str(plan.folder.path / "model.onnx"), sess_options=options, providers=["CPUExecutionProvider"]
    )
    seconds = 0.0
    for first in range(0, len(images), BATCH):
        batch = prepared(images[first : first + BATCH], plan.folder.settings)
        started = perf_counter()
        session.run(None, {"pixels": batch})
        seconds += perf_counter() - started
    return seconds


def rows_of(folder: Path, side: int, rounds: int) -> Iterator[Row]:
    """The rows, once all rounds are over."""
    slide = folder / f"drawn-{side}.tif"
    draw_slide(slide, side)
    store = store_of(folder / "store", slide, side)
    encoder = read_encoder_folder(network(folder / "stack"))
    within, bare, whole, apart = [], [], [], []
    for _ in range(rounds):
        plan = plan_encoding(store, encoder, FolderOptions())
        started = perf_counter()
        spent = compute(plan)
        took = perf_counter() - started - spent.loading
        shutil.rmtree(plan.shards[0].path.parent)
        started = perf_counter()
        images = read_bare(slide, side)
        read = perf_counter() - started
        alone = run_bare(plan, images)
        within.append(spent.network)
        bare.append(alone)
        whole.append(took)
        apart.append(read + alone)
    share = statistics.median(one / other for one, other in zip(bare, within, strict=True))
    yield Row(
        f"the network within encode, {side * side:,} tiles of a slide: its speed over its speed bare",
        f"{share:.2f} ×",
        "≥ 0.9 ×",
        share >= 0.9,
        f"{statistics.median(within):.2f} against {statistics.median(bare):.2f}",
    )
    ratio = statistics.median(one / other for one, other in zip(whole, apart, strict=True))
    yield Row(
        "encode as a whole against openslide bare, then the network bare",
        f"{ratio:.2f} ×",
        "≤ 1.1 ×",
        ratio <= 1.1,
        f"{statistics.median(whole):.2f} against {statistics.median(apart):.2f}",
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(tempfile.gettempdir()) / "milstore-benchmarks" / "encoding"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=46)
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="timed-", dir=options.folder) as place:
        rows = []
        for row in rows_of(Path(place), options.side, options.rounds):
            print(row, flush=True)
            rows.append(row)
    about = (
        f"{machine('onnxruntime', 'openslide-python')}; medians of {options.rounds} rounds; load average {load:.1f} before "
        f"and {os.getloadavg()[0]:.1f} after."
    )
    print(f"\n{about}")
    if options.page:
        put_on_page("Encoding", table(about, rows, NOTES))


if __name__ == "__main__":
    main()
