"""How much memory and how many threads a training process may take.

Memory is bounded twice, both without control groups. The process itself limits the growth of its address space, so that
one large allocation fails at once with a ``MemoryError``; its parent looks at the resident memory of it and of the
processes that it started, and ends them when it is above the limit. The resident memory is what the limit means; the
address space, of which libraries reserve much more than they use, gets an allowance on top. Where there is no
``/proc`` (other systems than Linux) nothing is watched or limited.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["bound_memory", "bound_threads", "size_text", "takes_more_than", "too_large"]

#: Address space that threads and allocators may reserve beyond the limit without using it.
_ALLOWANCE = 2**30

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def size_text(size: int) -> str:
    """Bytes in words.

    >>> size_text(2 * 2**30), size_text(300 * 2**20)
    ('2 GiB', '300 MiB')
    """
    unit, name = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    return f"{size / unit:.4g} {name}"


def too_large(limit: int, doing: str = "training") -> str:
    """The reason of a run that failed for lack of memory. ``doing``: training, or scoring."""
    remedy = " or train on fewer rows" if doing == "training" else ""
    return f"the {doing} took more than {size_text(limit)} of memory; raise training.memory_limit{remedy}"


def bound_memory(limit: int) -> None:
    """From now on this process can grow by ``limit`` bytes of address space and the allowance; then ``MemoryError``."""
    pages = _numbers(Path("/proc/self/statm"))
    if pages is None:
        return
    import resource

    wanted = pages[0] * os.sysconf("SC_PAGE_SIZE") + limit + _ALLOWANCE
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def bound_threads(threads: int) -> None:
    """Libraries of this process, and processes that it starts, use so many threads at most."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    # Those that are loaded already have read the variables. The limit stays when the object is gone.
    threadpool_limits(limits=threads)
    import pyarrow

    pyarrow.set_cpu_count(threads)


def takes_more_than(limit: int, pid: int) -> bool:
    """Whether a process and those that descend from it have more than ``limit`` bytes resident. What several of them
    share counts once; finding that out takes the system a while, and is only done when it matters."""
    family = _family(pid)
    return _resident_bytes(family) > limit and _proportional_bytes(family) > limit


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += _numbers(children) or []
    return found


def _resident_bytes(family: list[int]) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(pages[1] * page for one in family if (pages := _numbers(Path(f"/proc/{one}/statm"))) is not None)


def _proportional_bytes(family: list[int]) -> int:
    """Each page divided by the number of processes that have it."""
    return sum(_pss_bytes(one) for one in family)


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _numbers(path: Path) -> list[int] | None:
    try:
        return [int(text) for text in path.read_text().split()]
    except (OSError, ValueError):
        return None
