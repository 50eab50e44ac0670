"""The version of milstore."""

from pathlib import Path

__version__ = "0.2.0"
"""The version of milstore, as text."""

PACKAGE_PARENT = Path(__file__).resolve().parents[1]
"""The folder that holds the package: a checkout's root, or where packages are installed."""
