from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driftloop.spec.model import ModelSpec
from driftloop.spec.training import CandidateSpec, SearchSpec
from driftloop.training.child import TrainingFailed, TrainingProcesses, train_in_child
from driftloop.training.dataset import from_frame
from driftloop.training.limits import size_text, takes_more_than, too_large
from driftloop.training.train import train
from support.training_rows import make_rows, make_spec

#: Trainings by functions that take too much, in a module that the child imports.
GREEDY = """
import os, time
import numpy as np

def at_once(**given):
    return np.ones(8 * 2**30 // 8)

def slowly(**given):
    kept = []
    while True:
        kept.append(np.ones(2**21))
        time.sleep(0.01)

def crashed(**given):
    os._exit(3)

def late(**given):
    time.sleep(60)

def leave(seconds, **given):
    import subprocess, sys
    from pathlib import Path
    started = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) for _ in range(2)]
    whole = Path(__file__).with_name("sleepers.part")
    whole.write_text(" ".join(str(process.pid) for process in started))
    whole.rename(Path(__file__).with_name("sleepers"))
    time.sleep(seconds)
    return "no model"

def leaves_late(**given):
    return leave(60)

def leaves_returned(**given):
    return leave(0)

def leaves_parent(**given):
    return leave(4)

def threads(frame, **given):
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_info
    import joblib, pyarrow
    found = [pool["num_threads"] for pool in threadpool_info()]
    raise RuntimeError(f"{max(found)} of {len(found) > 0}, {joblib.cpu_count()}, {pyarrow.cpu_count()}")
"""


@pytest.fixture
def greedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy_training.py").write_text(GREEDY)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)


def run(spec: ModelSpec, folder: Path) -> str:
    """The reason why there is no model."""
    (folder / "work").mkdir()
    data = from_frame(make_spec(), *make_rows(rows=60))
    with TrainingProcesses() as processes, pytest.raises(TrainingFailed) as failed:
        train_in_child(spec, data.to_parquet(), None, seed=0, folder=folder / "work", processes=processes)
    return str(failed.value)


@pytest.mark.parametrize(
    ("name", "training", "reason"),
    [
        ("at_once", {"memory_limit": "2GiB"}, "took more than 2 GiB of memory; raise training.memory_limit"),
        ("slowly", {"memory_limit": "700MiB"}, "took more than 700 MiB of memory"),
        ("crashed", {}, "ended with code 3"),
        ("late", {"time_limit": "4s"}, "longer than its time limit of 4s"),
        ("threads", {"threads": 1}, "RuntimeError: 1 of True, 1, 1"),
    ],
)
def test_a_training_beyond_its_limits_or_crashed_fails_with_the_reason(
    name: str, training: dict[str, Any], reason: str, tmp_path: Path, greedy: None
) -> None:
    assert reason in run(make_spec(estimator=f"greedy_training:{name}", training=training), tmp_path)


def test_within_its_limits_a_training_says_what_it_says_without(tmp_path: Path) -> None:
    """Also how rows and parameters were chosen comes back from the process."""
    spec = make_spec(
        training={
            "memory_limit": "2GiB",
            "threads": 1,
            "candidates": [CandidateSpec(candidate="everything"), CandidateSpec(candidate="since_change")],
            "search": SearchSpec(parameters={"C": [0.1, 1.0]}, split="forward"),
        }
    )
    data = from_frame(make_spec(), *make_rows())
    changed_at_ms = int(data.predicted_at_ms[100])
    with TrainingProcesses() as processes:
        apart = train_in_child(
            spec, data.to_parquet(), None, seed=0, folder=tmp_path, changed_at_ms=changed_at_ms, processes=processes
        )
    here = train(spec, data, None, seed=0, changed_at_ms=changed_at_ms)
    assert apart.model_digest == here.model_digest
    assert (apart.choice, apart.search, apart.parameters) == (here.choice, here.search, here.parameters)
    assert apart.choice is not None
    assert apart.choice.changed_at_ms == changed_at_ms


def test_memory_is_that_of_a_process_and_what_it_started() -> None:
    child = "import time; x = bytearray(b'x') * (200 * 2**20); print('made', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert takes_more_than(200 * 2**20, process.pid)
        assert not takes_more_than(300 * 2**20, process.pid)
        os.killpg(process.pid, 9)
    assert not takes_more_than(0, process.pid)


def test_memory_that_processes_share_counts_once() -> None:
    code = """
        import os, time
        shared = bytearray(b"x") * (200 * 2**20)
        for _ in range(3):
            if os.fork() == 0:
                time.sleep(60)
        print("made", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert takes_more_than(200 * 2**20, process.pid)
        assert not takes_more_than(300 * 2**20, process.pid)
        os.killpg(process.pid, 9)


@pytest.mark.parametrize("way", ["late", "returned", "parent"])
def test_nothing_that_a_training_started_is_left(way: str, tmp_path: Path, greedy: None) -> None:
    """At its limit, at its end, or when the worker is killed."""
    spec = make_spec(estimator=f"greedy_training:leaves_{way}", training={"time_limit": "5s"})
    if way == "parent":
        (tmp_path / "work").mkdir()
        data = from_frame(make_spec(), *make_rows(rows=60))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply_async(train_in_child, (spec, data.to_parquet(), None), {"seed": 0, "folder": tmp_path / "work"})
            _wait_until((tmp_path / "sleepers").exists)
            for worker in pool._pool:  # type: ignore[attr-defined]
                os.kill(worker.pid, 9)
            pool.terminate()
    else:
        run(spec, tmp_path)
    sleepers = [int(pid) for pid in (tmp_path / "sleepers").read_text().split()]
    assert len(sleepers) == 2
    _wait_until(lambda: not any(_runs(pid) for pid in sleepers))


def test_what_the_process_cannot_leave_is_no_failure_of_the_training(tmp_path: Path) -> None:
    """A folder stands where it wants to write the model."""
    (tmp_path / "artifact.skops").mkdir()
    data = from_frame(make_spec(), *make_rows(rows=60))
    with (
        TrainingProcesses() as processes,
        pytest.raises(OSError, match=r"leave its files: .*artifact\.skops"),
    ):
        train_in_child(make_spec(), data.to_parquet(), None, seed=0, folder=tmp_path, processes=processes)


def _wait_until(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """A zombie that nobody has waited for is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_sizes_in_words() -> None:
    assert (size_text(2 * 2**30), size_text(700 * 2**20), size_text(3 * 2**29)) == ("2 GiB", "700 MiB", "1.5 GiB")
    assert "more than 2 GiB of memory" in too_large(2**31)
