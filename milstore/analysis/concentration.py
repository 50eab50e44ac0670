"""Whether a model errs more where its attention is concentrated, or where a case has few patches."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from milstore.analysis import correlation


def with_correlation(table: pa.Table, **_asked: Any) -> pa.Table:
    """The rows of `concentration` with Spearman's rho of attention and error among those of each top."""
    return correlation.with_error_correlation(table, "top", "attention")


def with_correlation_of_counts(table: pa.Table, **_asked: Any) -> pa.Table:
    """The rows of `patch-count` with Spearman's rho of patches and error among those of each count."""
    return correlation.with_error_correlation(table, "counted", "patches")


def report(rows: Iterable[Mapping[str, Any]]) -> str:
    """Spearman's rho of each top, a line each."""
    return correlation.report(rows, "top")


def report_of_counts(rows: Iterable[Mapping[str, Any]]) -> str:
    """Spearman's rho of each count, a line each."""
    return correlation.report(rows, "counted")
