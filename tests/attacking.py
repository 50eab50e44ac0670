"""Attacks a store by SQL: `python -m tests.attacking FOLDER`, which prints JSON."""

import json
import sys
from pathlib import Path

from milstore.asking.ask import ask_sql
from milstore.errors import UsageError
from tests.making import three_case_store
from tests.test_store_cohort import snapshot
from tests.test_store_sandbox import ATTACKS


def attack(folder: Path) -> dict[str, int]:
    """Try every attack of the table. AssertionError if one is answered, gets another message, or changes the store."""
    store = three_case_store(folder / "store")
    (store.root / "link").symlink_to(folder)
    before = snapshot(store.root)
    for sql, message in ATTACKS:
        try:
            ask_sql(
                store, sql.replace("{root}", str(store.root)), timeout=0.5 if "took longer" in message else 20
            ).rows()
        except UsageError as error:
            assert any(part in str(error) for part in message.split("|")), (sql, error)
        else:
            raise AssertionError(f"{sql} was answered")
        assert snapshot(store.root) == before, f"{sql} changed the store"
    return {"attacks": len(ATTACKS)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(attack(Path(sys.argv[1]))) + "\n")
