"""Training in a process of its own, so that a time limit, a crash or a lack of memory ends only that.

The parent writes a :class:`Job` and files into a folder and names the folder on the standard input of ``python -m
driftloop.training.child``; the child leaves a :class:`JobResult` and files there and ends. Importing what a training
needs takes seconds, so one child waits with that done (:class:`TrainingProcesses`). The parent keeps the child's
standard input open: when it closes, the parent is gone, and the child ends at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from driftloop.events.decisions import GateResult
from driftloop.events.time import duration_text
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec
from driftloop.training import artifacts
from driftloop.training.dataset import SplitError, TrainingSet
from driftloop.training.estimators import EstimatorError
from driftloop.training.train import Champion, Trained, train

__all__ = ["ChampionFile", "Job", "TrainingCancelled", "TrainingFailed", "TrainingProcesses", "train_in_child"]

_JOB, _DATA, _CHAMPION, _RESULT, _ARTIFACT, _PROFILE, _LOG = (
    "job.json",
    "data.parquet",
    "champion.skops",
    "result.json",
    "artifact.skops",
    "profile.json",
    "child.log",
)
_POLL_S = 0.05
_PARENT_GONE = 75


class TrainingFailed(Exception):
    """The training led to no model, and would not if it were tried again. The message is the reason."""


class TrainingCancelled(Exception):
    """The worker is asked to end; the run is left for another one."""


class Job(Struct, frozen=True, kw_only=True):
    """What the child is told. ``champion_version`` None: there is no champion to compare with."""

    spec: ModelSpec
    seed: int
    champion_version: str | None = None
    champion_sha256: str | None = None
    champion_trained_to_ms: int | None = None


class JobResult(Struct, frozen=True, kw_only=True):
    """What the child found, beside the files. ``error``: why there is no model."""

    error: str | None = None
    metrics: dict[str, float] = {}
    gates: list[GateResult] = []
    model_digest: str = ""
    train_rows: int = 0
    holdout_rows: int = 0
    seen_from_ms: int = 0
    seen_to_ms: int = 0


@dataclass(frozen=True)
class ChampionFile:
    """The champion as the registry has it. ``artifact`` None: it has no model file."""

    version: str
    artifact: bytes | None
    trained_to_ms: int | None


class TrainingProcesses:
    """Child processes for one training each. :meth:`warm` starts one ahead of time; :meth:`close` ends it."""

    def __init__(self) -> None:
        self._spare: subprocess.Popen[bytes] | None = None

    def warm(self) -> None:
        """Have a process waiting."""
        if self._spare is None or self._spare.poll() is not None:
            self._spare = _launch()

    def take(self) -> subprocess.Popen[bytes]:
        """A process for one job, the waiting one if there is one."""
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.poll() is None else _launch()

    def close(self) -> None:
        """End the waiting process."""
        spare, self._spare = self._spare, None
        if spare is not None:
            _end(spare)

    def __enter__(self) -> TrainingProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def train_in_child(
    spec: ModelSpec,
    parquet: bytes,
    champion: ChampionFile | None,
    *,
    seed: int,
    folder: Path,
    processes: TrainingProcesses | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Trained:
    """:func:`driftloop.training.train.train` in a child process, within the spec's time limit.

    ``folder`` must exist and be empty. Raises :class:`TrainingFailed` for a refusal, a crash or the time limit, and
    :class:`TrainingCancelled` once ``cancelled()`` says so. No child is left behind.
    """
    file = None if champion is None else champion.artifact
    job = Job(
        spec=spec,
        seed=seed,
        champion_version=None if champion is None else champion.version,
        champion_sha256=None if file is None else hashlib.sha256(file).hexdigest(),
        champion_trained_to_ms=None if champion is None else champion.trained_to_ms,
    )
    (folder / _JOB).write_bytes(msgspec.json.encode(job))
    (folder / _DATA).write_bytes(parquet)
    if file is not None:
        (folder / _CHAMPION).write_bytes(file)
    _run((processes or TrainingProcesses()).take(), folder, spec.training.time_limit_ms, cancelled)
    result = msgspec.json.decode((folder / _RESULT).read_bytes(), type=JobResult)
    if result.error is not None:
        raise TrainingFailed(result.error)
    return Trained(
        artifact=(folder / _ARTIFACT).read_bytes(),
        profile=ReferenceProfile.decode((folder / _PROFILE).read_bytes()),
        metrics=result.metrics,
        gates=result.gates,
        model_digest=result.model_digest,
        train_rows=result.train_rows,
        holdout_rows=result.holdout_rows,
        seen_from_ms=result.seen_from_ms,
        seen_to_ms=result.seen_to_ms,
    )


def _launch() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "driftloop.training.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Ctrl-C in a terminal is for the worker, which then decides.
        start_new_session=True,
        # OpenMP's threads spin while they wait, which on a machine with other work slows both down many times over.
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _run(process: subprocess.Popen[bytes], folder: Path, time_limit_ms: int, cancelled: Callable[[], bool]) -> None:
    """Hand the job to the child and wait for its end."""
    deadline = time.monotonic() + time_limit_ms / 1000
    try:
        assert process.stdin is not None, "the child was started with a pipe"
        with contextlib.suppress(BrokenPipeError):  # it has died meanwhile, as its return code will tell
            process.stdin.write(f"{folder.resolve()}\n".encode())
            process.stdin.flush()
        while process.poll() is None:
            if cancelled():
                raise TrainingCancelled
            if time.monotonic() > deadline:
                raise TrainingFailed(f"the training took longer than its time limit of {duration_text(time_limit_ms)}")
            time.sleep(_POLL_S)
    finally:
        _end(process)
    if process.returncode < 0:
        raise TrainingFailed(f"the training process was ended by signal {-process.returncode} (out of memory?)")
    if process.returncode != 0 or not (folder / _RESULT).exists():
        written = (folder / _LOG).read_text("utf-8", "replace") if (folder / _LOG).exists() else ""
        lines = written.strip().splitlines()
        said = lines[-1][:500] if lines else "it did not come as far as the training, see the trainer's log"
        raise TrainingFailed(f"the training process ended with code {process.returncode}: {said}")


def _work(folder: Path) -> None:
    """The child's side."""
    job = msgspec.json.decode((folder / _JOB).read_bytes(), type=Job)
    try:
        data = TrainingSet.from_parquet(job.spec, (folder / _DATA).read_bytes())
        trained = train(job.spec, data, _champion(folder, job), seed=job.seed)
    except (EstimatorError, SplitError, artifacts.ArtifactError) as error:
        result = JobResult(error=str(error))
    else:
        (folder / _ARTIFACT).write_bytes(trained.artifact)
        (folder / _PROFILE).write_bytes(trained.profile.encode())
        result = JobResult(
            metrics=trained.metrics,
            gates=trained.gates,
            model_digest=trained.model_digest,
            train_rows=trained.train_rows,
            holdout_rows=trained.holdout_rows,
            seen_from_ms=trained.seen_from_ms,
            seen_to_ms=trained.seen_to_ms,
        )
    (folder / _RESULT).write_bytes(msgspec.json.encode(result))


def _champion(folder: Path, job: Job) -> Champion | None:
    if job.champion_version is None:
        return None
    pipeline = None
    if job.champion_sha256 is not None:
        pipeline = artifacts.load((folder / _CHAMPION).read_bytes(), sha256=job.champion_sha256)
    return Champion(job.champion_version, pipeline, job.champion_trained_to_ms)


def _folder_from_parent() -> Path:
    """Waits for the folder. From then on a thread waits for the parent's end."""
    # Not sys.stdin: its lock, held by that thread for good, would abort the interpreter's own shutdown.
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(0, 4096)
        if not read:
            os._exit(_PARENT_GONE)
        line += read
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    return Path(line.decode().rstrip("\n"))


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(_PARENT_GONE)


def _log_into(path: Path) -> None:
    """What this process and its libraries write goes into the file."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(handle, number)


if __name__ == "__main__":
    job_folder = _folder_from_parent()
    _log_into(job_folder / _LOG)
    _work(job_folder)
