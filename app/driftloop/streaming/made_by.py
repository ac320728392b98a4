"""Which software wrote a report: what a later replay must be run with to be equal to the last bit."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import msgspec

from driftloop.events.reports import WindowReport

__all__ = ["made_by", "stamped"]

#: Whatever computes a number or words a sentence in a report.
_PACKAGES = ("driftloop", "numpy", "scipy", "scikit-learn")


@cache
def made_by() -> str:
    """Versions of what computes reports, and the processor's kind, in a line.

    >>> made_by().split()[0]
    'driftloop'
    """
    named = [f"{name} {_version(name)}" for name in _PACKAGES]
    return ", ".join([*named, f"Python {'.'.join(platform.python_version_tuple()[:2])}", platform.machine()])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def stamped(report: WindowReport, source_partitions: int) -> WindowReport:
    """The report with its origin, which is not part of its content."""
    return msgspec.structs.replace(report, made_by=made_by(), source_partitions=source_partitions)
