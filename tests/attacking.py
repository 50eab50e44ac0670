"""Attacks a store by SQL: `python -m tests.attacking FOLDER`, which prints JSON.

Every attack of the table comes as it stands, and in disguises: behind comments, within another statement, as one of two.
"""

import json
import re
import sys
from pathlib import Path

import duckdb

from milstore.asking.ask import ask_sql
from milstore.errors import UsageError
from milstore.store import Store
from tests.making import three_case_store
from tests.test_asking_sandbox import ATTACKS
from tests.test_store_cohort import snapshot

DISGUISES: dict[str, str] = {
    "behind a comment": "/* select 1 */ -- select 2\n{sql}",
    "as the second statement": "select 1; {sql}",
    "as the first statement": "{sql}; select 1",
    "in a subquery": "select * from ({sql}) as t",
    "in a CTE": "with t as ({sql}) select * from t",
    "explained": "explain analyze {sql}",
    "in capitals": "{upper}",
}
"""What stands around an attack: {sql}, or {upper} with the words of SQL in capitals."""
_TEXT = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""")


def disguised(sql: str, disguise: str) -> str:
    """An attack in a disguise; what stands in quotes stays as it is."""
    upper = "".join(part if part[:1] in ("'", '"') else part.upper() for part in _TEXT.split(sql))
    return DISGUISES[disguise].replace("{upper}", upper).replace("{sql}", sql)


def refused(store: Store, sql: str, timeout: float) -> str:
    """What a statement is refused with. AssertionError if it is answered, or refused in more than a line."""
    try:
        ask_sql(store, sql, timeout=timeout).rows()
    except UsageError as error:
        assert "\n" not in str(error), sql
        return str(error)
    raise AssertionError(f"{sql} was answered")


def attack(folder: Path) -> dict[str, object]:
    """Try every attack of the table. AssertionError if one is answered, gets another message, or changes the store."""
    store = three_case_store(folder / "store")
    (store.root / "link").symlink_to(folder)
    before = snapshot(store.root)
    statements = 0
    for sql, message in ATTACKS:
        attacking, endless = sql.replace("{root}", str(store.root)), "took longer" in message
        said = refused(store, attacking, 0.5 if endless else 20)
        assert any(part in said for part in message.split("|")), (sql, said)
        statements += 1
        # An endless one would take its whole time in each; one that is too long or empty is neither in a disguise.
        if not endless and not any(form in message for form in ("these are 0", "at most 100000")):
            for disguise in DISGUISES:
                refused(store, disguised(attacking.rstrip("; \n"), disguise), 5)
                statements += 1
        assert snapshot(store.root) == before, f"{sql} changed the store"
    return {"attacks": statements, "duckdb": duckdb.__version__}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(attack(Path(sys.argv[1]))) + "\n")
