"""Training in a process of its own, so that a time limit, a crash or a lack of memory ends only that.

The parent writes a :class:`Job` and files into a folder and names the folder on the standard input of ``python -m
driftloop.training.child``; the child leaves a :class:`JobResult` and files there and ends. Importing what a training
needs takes seconds, so one child waits with that done (:class:`TrainingProcesses`). The parent keeps the child's
standard input open: when it closes, the parent is gone, and the child ends at once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from driftloop.events.decisions import GateResult
from driftloop.events.time import duration_text
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import TrainingSpec
from driftloop.training import artifacts, progress
from driftloop.training.child_output import LOG, ChildOutput, FileListener, ended_by, last_lines
from driftloop.training.choice import Choice
from driftloop.training.dataset import SplitError, TrainingSet
from driftloop.training.estimators import EstimatorError
from driftloop.training.handover.brought import brought_from
from driftloop.training.learning_on import LearnedOn
from driftloop.training.limits import bound_memory, bound_threads, resident_bytes, too_large
from driftloop.training.search import SearchResult
from driftloop.training.train import Champion, Trained, train
from driftloop.training.validation.keep import check_and_write
from driftloop.training.validation.validate import reason_of

__all__ = [
    "ChampionFile",
    "Job",
    "TrainingCancelled",
    "TrainingFailed",
    "TrainingProcesses",
    "train_in_child",
    "validate_in_child",
]

_JOB, _DATA, _CHAMPION, _RESULT, _ARTIFACT, _PROFILE, _REFERENCE, _BROUGHT = (
    "job.json",
    "data.parquet",
    "champion.skops",
    "result.json",
    "artifact.skops",
    "profile.json",
    "reference.json",
    "brought.skops",
)
_POLL_S = 0.05
_PARENT_GONE = 75
#: What is started for a training.
COMMAND = [sys.executable, "-m", "driftloop.training.child"]


class TrainingFailed(Exception):
    """The training led to no model, and would not if it were tried again. The message is the reason."""


class TrainingCancelled(Exception):
    """The worker is asked to end; the run is left for another one."""


class Job(Struct, frozen=True, kw_only=True):
    """What the child is told. ``champion_version`` None: there is no champion to compare with. ``unreadable``: so many
    rows were left out of the data, not fitting the spec. ``validated``: the data is validated first."""

    spec: ModelSpec
    seed: int
    champion_version: str | None = None
    champion_sha256: str | None = None
    champion_trained_to_ms: int | None = None
    changed_at_ms: int | None = None
    unreadable: int = 0
    #: ``validate`` ends after the checks of the data; ``judge`` takes a model that was fitted elsewhere.
    work: Literal["train", "validate", "judge"] = "train"
    validated: bool = True


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
    parameters: dict[str, Any] | None = None
    choice: Choice | None = None
    search: SearchResult | None = None
    learned_on: LearnedOn | None = None


@dataclass(frozen=True)
class ChampionFile:
    """The champion as the registry has it. ``artifact`` None: it has no model file; ``profile``: its encoded reference
    profile, None if it has none."""

    version: str
    artifact: bytes | None
    trained_to_ms: int | None
    profile: bytes | None = None


class TrainingProcesses:
    """Child processes for one training each. :meth:`warm` starts one ahead of time; :meth:`close` ends it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment``: variables that the processes get beside this one's."""
        self._environment = dict(environment or {})
        self._spare: subprocess.Popen[bytes] | None = None

    def warm(self) -> None:
        """Have a process waiting."""
        if self._spare is None or self._spare.poll() is not None:
            self._spare = _launch(self._environment)

    def take(self) -> subprocess.Popen[bytes]:
        """A process for one job, the waiting one if there is one."""
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.poll() is None else _launch(self._environment)

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
    changed_at_ms: int | None = None,
    unreadable: int = 0,
    validated: bool = True,
    processes: TrainingProcesses | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    brought: bytes | None = None,
) -> Trained:
    """:func:`driftloop.training.train.train` in a child process, within the spec's limits of time and memory, after
    :func:`driftloop.training.validation.validate.validate`, whose results are in the folder afterwards (also of a
    training that ends here); not ``validated``: without that.

    ``folder`` must exist and be empty. What the child says goes to :mod:`driftloop.training.progress`. Raises
    :class:`TrainingFailed` for a refusal, a crash or a limit, and :class:`TrainingCancelled` once ``cancelled()`` says
    so. No child is left behind. ``brought``: the file of a model that was fitted elsewhere, which is judged
    instead; the data have been validated then.
    """
    if brought is not None:
        (folder / _BROUGHT).write_bytes(brought)
    job = Job(
        spec=spec,
        seed=seed,
        changed_at_ms=changed_at_ms,
        unreadable=unreadable,
        work="train" if brought is None else "judge",
        validated=validated,
    )
    result = _in_child(job, parquet, champion, folder, processes, cancelled)
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
        parameters=result.parameters,
        choice=result.choice,
        search=result.search,
        learned_on=result.learned_on,
    )


def validate_in_child(
    spec: ModelSpec,
    parquet: bytes,
    champion: ChampionFile | None,
    *,
    folder: Path,
    unreadable: int = 0,
    processes: TrainingProcesses | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Only the validation of :func:`train_in_child`, which raises as that does."""
    job = Job(spec=spec, seed=0, unreadable=unreadable, work="validate")
    _in_child(job, parquet, champion, folder, processes, cancelled)


def _in_child(
    job: Job,
    parquet: bytes,
    champion: ChampionFile | None,
    folder: Path,
    processes: TrainingProcesses | None,
    cancelled: Callable[[], bool],
) -> JobResult:
    """Hand a job with its files to a child. Raises :class:`TrainingFailed` and :class:`TrainingCancelled`."""
    file = None if champion is None else champion.artifact
    if champion is not None:
        job = msgspec.structs.replace(
            job,
            champion_version=champion.version,
            champion_sha256=None if file is None else hashlib.sha256(file).hexdigest(),
            champion_trained_to_ms=champion.trained_to_ms,
        )
    (folder / _JOB).write_bytes(msgspec.json.encode(job))
    (folder / _DATA).write_bytes(parquet)
    if file is not None:
        (folder / _CHAMPION).write_bytes(file)
    if champion is not None and champion.profile is not None:
        (folder / _REFERENCE).write_bytes(champion.profile)
    _run((processes or TrainingProcesses()).take(), folder, job.spec.training, cancelled)
    result = msgspec.json.decode((folder / _RESULT).read_bytes(), type=JobResult)
    if result.error is not None:
        raise TrainingFailed(result.error)
    return result


def _launch(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # What it writes before it has a job, such as why it cannot be imported. A file, since nobody reads a pipe by then.
    early = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=early,
        stderr=subprocess.STDOUT,
        # Ctrl-C in a terminal is for the worker, which then decides.
        start_new_session=True,
        # OpenMP's threads spin while they wait, which on a machine with other work slows both down many times over.
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **environment},
    )
    process.stdout = early
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.stdout is not None:
        process.stdout.close()


def _run(process: subprocess.Popen[bytes], folder: Path, limits: TrainingSpec, cancelled: Callable[[], bool]) -> None:
    """Hand the job to the child and wait for its end."""
    deadline = time.monotonic() + limits.time_limit_ms / 1000
    most_bytes = limits.memory_limit_bytes
    output = ChildOutput(folder)
    early: list[str] = []
    try:
        assert process.stdin is not None, "the child was started with a pipe"
        with contextlib.suppress(BrokenPipeError):  # it has died meanwhile, as its return code will tell
            process.stdin.write(f"{folder.resolve()}\n".encode())
            process.stdin.flush()
        while process.poll() is None:
            output.forward()
            if cancelled():
                raise TrainingCancelled
            if time.monotonic() > deadline:
                output.forward(to_end=True)
                took = f"the training took longer than its time limit of {duration_text(limits.time_limit_ms)}"
                raise TrainingFailed(_with_words(took, output.last_words()))
            if most_bytes is not None and resident_bytes(process.pid) > most_bytes:
                output.forward(to_end=True)
                raise TrainingFailed(_with_words(too_large(most_bytes), output.last_words()))
            time.sleep(_POLL_S)
        output.forward(to_end=True)
        early = last_lines(process.stdout)
    finally:
        _end(process)
    if process.returncode != 0 or not (folder / _RESULT).exists():
        for text in early:
            progress.line(text)
        ended = f"the training process {ended_by(process.returncode)}"
        raise TrainingFailed(_with_words(ended, output.last_words() or " / ".join(early[-3:])[-600:]))


def _with_words(what: str, last_words: str) -> str:
    return f"{what}; the last it said: {last_words}" if last_words else f"{what}; it said nothing"


def _work(folder: Path) -> None:
    """The child's side."""
    job = msgspec.json.decode((folder / _JOB).read_bytes(), type=Job)
    limit = job.spec.training.memory_limit_bytes
    if job.spec.training.threads is not None:
        bound_threads(job.spec.training.threads)
    if limit is not None:
        bound_memory(limit)
    try:
        data = TrainingSet.from_parquet(job.spec, (folder / _DATA).read_bytes())
        if job.validated and job.work != "judge":
            _validate(folder, job, data)
        if job.work == "validate":
            (folder / _RESULT).write_bytes(msgspec.json.encode(JobResult()))
            return
        brought = brought_from(job.spec, data, (folder / _BROUGHT).read_bytes()) if job.work == "judge" else None
        trained = train(
            job.spec,
            data,
            _champion(folder, job),
            seed=job.seed,
            changed_at_ms=job.changed_at_ms,
            brought=brought,
        )
    except (EstimatorError, SplitError, TrainingFailed, artifacts.ArtifactError) as error:
        result = JobResult(error=str(error))
    except MemoryError:
        if limit is None:
            raise
        result = JobResult(error=too_large(limit))
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
            parameters=trained.parameters,
            choice=trained.choice,
            search=trained.search,
            learned_on=trained.learned_on,
        )
    (folder / _RESULT).write_bytes(msgspec.json.encode(result))


def _validate(folder: Path, job: Job, data: TrainingSet) -> None:
    """Check the data before anything is trained on it. Raises :class:`TrainingFailed`."""
    path = folder / _REFERENCE
    reference = ReferenceProfile.decode(path.read_bytes()) if path.exists() else None
    asset = hashlib.sha256((folder / _DATA).read_bytes()).hexdigest()
    result = check_and_write(folder, job.spec, data, reference, unreadable=job.unreadable, asset=asset)
    if result.verdict == "fail":
        raise TrainingFailed(reason_of(result))


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
    _log_into(job_folder / LOG)
    faulthandler.enable()
    with progress.listening(FileListener(job_folder)):
        _work(job_folder)
