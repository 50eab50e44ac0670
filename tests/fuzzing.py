"""Damages files of every kind by chance and reads them: `python -m tests.fuzzing FOLDER EACH [SEED]`, which prints JSON.

The same as `tests/test_ingest_fuzz.py`, for as many inputs as one has time for.
"""

import json
import random
import sys
from pathlib import Path

from milstore.errors import DataError
from tests.test_ingest_fuzz import READERS, damaged, good

KINDS = ("set", "cut", "insert", "zero")


def fuzz(folder: Path, each: int, seed: int = 0) -> dict[str, int]:
    """Try so many damaged inputs for each reader. AssertionError for anything but DataError in one line, or reading.

    Returns how many were tried, and how many of them refused.
    """
    chance, refused = random.Random(seed), 0
    for name, (suffix, _, read) in READERS.items():
        path, whole = folder / f"{name.replace(' ', '-')}{suffix}", good(name)
        for _ in range(each):
            changes = [
                (chance.choice(KINDS), chance.randrange(2**20), chance.randrange(256))
                for _ in range(chance.randint(1, 4))
            ]
            path.write_bytes(damaged(whole, changes))
            try:
                read(path)
            except DataError as error:
                assert "\n" not in str(error), (name, changes)
                refused += 1
            except Exception as error:
                raise AssertionError(f"{name} with {changes}: {type(error).__name__}: {error}") from error
        path.unlink()
    return {"inputs": each * len(READERS), "readers": len(READERS), "refused": refused}


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    sys.stdout.write(json.dumps(fuzz(Path(place), *map(int, numbers))) + "\n")
