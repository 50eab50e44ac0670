"""How much memory a question may take. Here alone, so that who needs the number loads no DuckDB."""

MEMORY = 8
"""GB that DuckDB may take for a question, of what it counts."""
BESIDE = 2
"""GB beyond it that the process may take which asks on the command line: for what DuckDB does not count."""
