"""How charts and the report say that a case was called right or wrong: here alone, so that it is the same everywhere.

A case is *called right* or *called wrong*. What it was called is its *predicted class*.
"""

from milstore.store.names import counted

RIGHT, WRONG = "right", "wrong"
"""What the column `outcome` holds, and what legends and tooltips say."""
OUTCOME = "called"
"""What heads a legend or stands before a value of the column: `called: wrong`."""
WRONG_MARK = "*"
"""Stands behind the name of a case that is called wrong."""
WRONG_KEY = f"{WRONG_MARK} {OUTCOME} {WRONG}"
"""Says what the mark means."""


def called(outcome: str) -> str:
    """An outcome in words.

    >>> called("wrong")
    'called wrong'
    """
    return f"{OUTCOME} {outcome}"


def called_wrong(wrong: int, cases: int, what: str = "case") -> str:
    """How many were called wrong.

    >>> called_wrong(7, 28, "benign case"), called_wrong(0, 1)
    ('7 of 28 benign cases called wrong', '0 of 1 case called wrong')
    """
    return f"{wrong:,} of {counted(cases, what)} {OUTCOME} {WRONG}"


def called_right(right: int, cases: int, what: str = "case") -> str:
    """How many were called right.

    >>> called_right(21, 28, "benign case")
    '21 of 28 benign cases called right'
    """
    return f"{right:,} of {counted(cases, what)} {OUTCOME} {RIGHT}"
