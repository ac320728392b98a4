"""Which code ran, in which environment, on which kind of processor: what a fit depends on beyond its rows and spec."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any

import msgspec
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from driftloop.registry.artifacts import ArtifactStore
from driftloop.settings import Settings

__all__ = [
    "UNKNOWN",
    "code_commit",
    "keep_lock",
    "lock_digest",
    "locked_packages",
    "machine",
    "thread_variables",
    "threads",
]

UNKNOWN = "unknown"

_GIT_TIMEOUT_S = 5.0


def code_commit() -> str:
    """The commit of the running code: what the setting ``commit`` says; else the one that pip installed from; else that
    of the repository that the code lies in, with ``+changed`` if files of the package differ from it; else
    ``unknown``."""
    return Settings().commit.strip() or _installed_from() or _checked_out() or UNKNOWN


@cache
def _installed_from() -> str:
    """PEP 610: pip notes where a package came from that is not from an index."""
    try:
        text = distribution("driftloop").read_text("direct_url.json")
        noted = {} if text is None else msgspec.json.decode(text)
        return str(noted.get("vcs_info", {}).get("commit_id", ""))
    except (PackageNotFoundError, msgspec.DecodeError, AttributeError):
        return ""


@cache
def _checked_out() -> str:
    package = Path(__file__).resolve().parents[1]
    # A package inside of somebody else's repository, such as a virtual environment in it, is not tracked there.
    if not _git(package, "ls-files", "--", "__init__.py"):
        return ""
    commit = _git(package, "rev-parse", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        return ""
    # git may not answer about changes, such as for want of a writable index: then it is not said that there are none.
    changes = _git(package, "status", "--porcelain", "--", ".")
    return commit if changes == "" else f"{commit}+changed"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        ran = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return ran.stdout.strip()


@cache
def locked_packages() -> str:
    """Every installed package, one ``name==version`` a line, sorted by name: what a lock file of this environment would
    pin."""
    found = set()
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.add(f"{re.sub(r'[-_.]+', '-', name).lower()}=={one.version}")
    return "".join(f"{line}\n" for line in sorted(found))


def keep_lock(store: ArtifactStore) -> dict[str, Any]:
    """Put :func:`locked_packages` into the store. What a version's lineage says of it: name, digest, number."""
    text = locked_packages().encode()
    stored = store.put_bytes(text, ".txt")
    return {"uri": stored.uri, "sha256": stored.sha256, "packages": text.count(b"\n")}


def lock_digest() -> str:
    """SHA-256 in hex of :func:`locked_packages`."""
    return hashlib.sha256(locked_packages().encode()).hexdigest()


@cache
def machine() -> dict[str, str]:
    """What sums of floats depend on: architecture, the processor's family, and the linear algebra library with the
    kernel that it has chosen for the processor."""
    return {
        "architecture": platform.machine() or UNKNOWN,
        "cpu_family": _cpu_family(),
        "blas": _linear_algebra(),
    }


def threads() -> dict[str, str]:
    """How many threads the numeric libraries of this process, and of those that it starts, use. A fit may depend on it:
    sums of parts in another order round differently, and some estimators keep the number itself."""
    import sklearn.ensemble  # noqa: F401  (loads OpenMP)

    found: dict[str, int] = {}
    for pool in threadpool_info():
        kind = str(pool.get("user_api"))
        found[kind] = max(found.get(kind, 0), int(pool.get("num_threads") or 0))
    return {f"{kind}_threads": str(found.get(kind, 0) or UNKNOWN) for kind in ("openmp", "blas")}


def thread_variables(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables that give a new process the recorded numbers of threads."""
    names = {
        "openmp_threads": ("OMP_NUM_THREADS",),
        "blas_threads": ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    }
    return {
        variable: str(recorded[key])
        for key, variables in names.items()
        if str(recorded.get(key, UNKNOWN)).isdigit()
        for variable in variables
    }


def _cpu_family(info: Path = Path("/proc/cpuinfo")) -> str:
    """Vendor, family and model number on Linux, such as ``GenuineIntel 6/143``."""
    try:
        lines = [line.split(":", 1) for line in info.read_text(errors="replace").split("\n\n")[0].splitlines()]
    except OSError:
        return platform.processor() or UNKNOWN
    said = {parts[0].strip(): parts[1].strip() for parts in lines if len(parts) == 2}
    vendor = said.get("vendor_id") or said.get("CPU implementer")
    numbers = [said.get("cpu family") or said.get("CPU architecture"), said.get("model") or said.get("CPU part")]
    if vendor is None:
        return platform.processor() or UNKNOWN
    return f"{vendor} {'/'.join(number for number in numbers if number)}".strip()


def _linear_algebra() -> str:
    import numpy  # noqa: F401  (loads the library that is asked about)

    found = sorted(
        {
            " ".join(str(pool[key]) for key in ("internal_api", "version", "architecture") if pool.get(key))
            for pool in threadpool_info()
            if pool.get("user_api") == "blas"
        }
    )
    return ", ".join(found) or UNKNOWN
