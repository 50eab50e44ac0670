"""The version of milstore."""

from pathlib import Path

__version__ = "0.1.0"

PACKAGE_PARENT = Path(__file__).resolve().parents[1]
"""The folder that holds the package: a checkout's root, or where packages are installed."""
