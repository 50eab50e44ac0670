"""Contenders timed in turns, so that what else the machine does meets them alike; ratios are taken within a round."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """What the contenders took, a number a round."""

    wall: Mapping[str, list[float]]
    """Seconds by the clock on the wall."""
    cpu: Mapping[str, list[float]]
    """Seconds of this process on a processor, threads together; of other processes nothing."""

    def seconds(self, name: str) -> float:
        """Median by the wall clock."""
        return statistics.median(self.wall[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over the rounds of one contender's seconds over another's."""
        return statistics.median(one / other for one, other in zip(self.wall[name], self.wall[to], strict=True))

    def cpu_ratio(self, name: str, to: str) -> float:
        """The same for processor seconds, which a machine that is shared disturbs less."""
        return statistics.median(one / other for one, other in zip(self.cpu[name], self.cpu[to], strict=True))


def in_rounds(contenders: Mapping[str, Callable[[], object]], rounds: int, *, warm: bool = True) -> Timed:
    """Run each contender once a round, after a round that is not counted if `warm`."""
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1 if warm else 0, rounds):
        for name, run in contenders.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            run()
            if number >= 0:
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - started_cpu)
    return Timed(wall, cpu)
