from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from driftloop.spec.model import ModelSpec
from driftloop.spec.training import CandidateSpec, SearchSpec
from driftloop.training.child import TrainingFailed, TrainingProcesses, train_in_child
from driftloop.training.dataset import from_frame
from driftloop.training.limits import resident_bytes, size_text, too_large
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

def by_a_child(**given):
    import subprocess, sys
    subprocess.run([sys.executable, "-c", "import time; x = bytearray(b'x') * 2**30; time.sleep(60)"])

def killed(**given):
    os.kill(os.getpid(), 9)

def crashed(**given):
    os._exit(3)

def late(**given):
    time.sleep(60)

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
        ("by_a_child", {"memory_limit": "1GiB"}, "took more than 1 GiB of memory"),
        ("killed", {"memory_limit": "2GiB"}, "ended by signal 9"),
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


def test_resident_memory_is_that_of_a_process_and_what_it_started() -> None:
    child = "import time; x = bytearray(b'x') * (200 * 2**20); print('made', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert 200 * 2**20 < resident_bytes(process.pid) < 300 * 2**20
        os.killpg(process.pid, 9)
    assert resident_bytes(process.pid) == 0


def test_sizes_in_words() -> None:
    assert (size_text(2 * 2**30), size_text(700 * 2**20), size_text(3 * 2**29)) == ("2 GiB", "700 MiB", "1.5 GiB")
    assert "more than 2 GiB of memory" in too_large(2**31)
