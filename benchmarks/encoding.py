"""How fast a slide is encoded by a network, as ratios to the network and to openslide alone, in the same run.

    python -m benchmarks.encoding [FOLDER] [--rounds 3] [--side 46]

A slide of side x side tiles is drawn; start-up (importing, loading the network) is not counted. With --page the rows are put
into the encoding part of docs/performance.md.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from time import perf_counter, process_time

import numpy as np
import onnxruntime
import openslide
from onnx import TensorProto, helper, numpy_helper, save

from benchmarks.drawn_slide import TILE, draw_slide, store_of
from benchmarks.page import Row
from benchmarks.slide_timing import time_on_slide
from milstore.encoders.computing import compute
from milstore.encoders.encoder_folder import EncoderFolder, read_encoder_folder
from milstore.encoders.encoding_plan import BATCH, FolderOptions, plan_encoding
from milstore.encoders.preprocessing import prepared
from milstore.pixels.patch_source import PatchPlace
from milstore.processors import processors

SIZE = 224
PARTS = 16
"""The slide is encoded in turns with the two alone, a few slices at a time, so that what else the machine does meets them alike."""
NOTES = """The network is a stack of seven convolutions, a quarter of the work of DenseNet-121; heavier ones hide more of the
reading. "Within encode" are the seconds in which `encode` waits for the network's answer while its threads read the next batches
on the same processors; "bare" is onnxruntime on the same batches, which are in memory. The second row counts seconds on a
processor, of all threads: of `encode`, and of openslide reading the same tiles and the network bare, with the pre-processing that
both need."""


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


class Clock:
    """Seconds of this process on a processor, threads together."""

    def __init__(self) -> None:
        self._started = process_time()

    def processor(self) -> float:
        return process_time() - self._started


def read_bare(slide: Path, places: Sequence[PatchPlace]) -> list[np.ndarray]:
    """The tiles by openslide, by as many threads as there are processors, each with a handle of its own."""
    mine = local()

    def read(place: PatchPlace) -> np.ndarray:
        if not hasattr(mine, "slide"):
            mine.slide = openslide.OpenSlide(slide)
        return np.asarray(mine.slide.read_region((place.x, place.y), 0, (TILE, TILE)).convert("RGB"))

    with ThreadPoolExecutor(processors()) as threads:
        return list(threads.map(read, places))


def run_bare(encoder: EncoderFolder, images: list[np.ndarray], slices: Sequence[int]) -> float:
    """Seconds of the network on the same batches, by the clock on the wall; they are made beforehand."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = processors()
    session = onnxruntime.InferenceSession(
        str(encoder.path / "model.onnx"), sess_options=options, providers=["CPUExecutionProvider"]
    )
    seconds, begin = 0.0, 0
    for size in slices:
        for first in range(begin, begin + size, BATCH):
            batch = prepared(images[first : min(first + BATCH, begin + size)], encoder.settings)
            started = perf_counter()
            session.run(None, {"pixels": batch})
            seconds += perf_counter() - started
        begin += size
    return seconds


def rows_of(folder: Path, side: int, rounds: int) -> Iterator[Row]:
    """The rows, once all rounds are over."""
    slide = folder / f"drawn-{side}.tif"
    draw_slide(slide, side)
    store = store_of(folder / "store", slide, side)
    encoder = read_encoder_folder(network(folder / "stack"))
    plan = plan_encoding(store, encoder, FolderOptions())
    within: list[float] = []
    bare: list[float] = []
    whole: list[float] = []
    apart: list[float] = []
    for part in range(PARTS * rounds):
        mine = plan.shards[part % PARTS :: PARTS]
        for shard in mine:
            shard.path.unlink(missing_ok=True)
        clock = Clock()
        spent = compute(plan, part=(part % PARTS, PARTS))
        took = clock.processor()
        clock = Clock()
        images = read_bare(slide, [place for shard in mine for place in shard.places])
        alone = run_bare(encoder, images, [len(shard.places) for shard in mine])
        within.append(spent.network)
        bare.append(alone)
        whole.append(took)
        apart.append(clock.processor())
    share = sum(bare) / sum(within)
    yield Row(
        f"the network within encode, {side * side:,} tiles of a slide: its speed over its speed bare",
        f"{share:.2f} ×",
        "≥ 0.9 ×",
        share >= 0.9,
        f"{sum(within) / rounds:.2f} against {sum(bare) / rounds:.2f}",
    )
    ratio = sum(whole) / sum(apart)
    yield Row(
        "processor seconds of encode as a whole over those of openslide and the network alone",
        f"{ratio:.2f} ×",
        "≤ 1.1 ×",
        ratio <= 1.1,
        f"{sum(whole) / rounds:.2f} against {sum(apart) / rounds:.2f}",
    )


def main(words: list[str] | None = None) -> None:
    time_on_slide(
        words,
        doc=__doc__,
        name="Encoding",
        rows_of=rows_of,
        rounds=3,
        packages=("onnxruntime", "openslide-python"),
        how=f" of {PARTS} parts in turns",
        notes=NOTES,
    )


if __name__ == "__main__":
    main()
