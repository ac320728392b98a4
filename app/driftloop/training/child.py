"""Training and scoring in a process of its own, so that a time limit, a crash or a lack of memory ends only that.

The parent writes a :class:`~driftloop.training.child_job.Job` and files into a folder and names the folder on the
standard input of a :mod:`driftloop.training.child_process`, which leaves a result and files there and ends. Importing
what a training needs takes seconds, so one child waits with that done (:class:`TrainingProcesses`). The parent keeps
the child's standard input open: when it closes, the parent is gone, and the child ends at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from driftloop.events.time import duration_text
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec
from driftloop.spec.training import TrainingSpec
from driftloop.training import progress
from driftloop.training.child_job import (
    ARTIFACT,
    BROUGHT,
    CHAMPION,
    DATA,
    JOB,
    NOT_WRITTEN,
    PROFILE,
    REFERENCE,
    RESULT,
    Job,
    JobResult,
)
from driftloop.training.child_output import ChildOutput, ended_by, last_lines
from driftloop.training.limits import takes_more_than, too_large
from driftloop.training.train import Trained

__all__ = [
    "ChampionFile",
    "TrainingCancelled",
    "TrainingFailed",
    "TrainingProcesses",
    "score_in_child",
    "train_in_child",
    "validate_in_child",
]

_POLL_S = 0.05
#: What is started for a training.
COMMAND = [sys.executable, "-m", "driftloop.training.child_process"]


class TrainingFailed(Exception):
    """The training led to no model, and would not if it were tried again. The message is the reason."""


class TrainingCancelled(Exception):
    """The worker is asked to end; the run is left for another one."""


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
        (folder / BROUGHT).write_bytes(brought)
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
        artifact=(folder / ARTIFACT).read_bytes(),
        profile=ReferenceProfile.decode((folder / PROFILE).read_bytes()),
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
        gap=result.gap,
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


def score_in_child(
    spec: ModelSpec,
    parquet: bytes,
    champion: ChampionFile,
    challenger: bytes,
    *,
    windows: list[int],
    folder: Path,
    processes: TrainingProcesses | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> JobResult:
    """Have the rows scored by two model files, within the spec's limits of time and memory of a training.

    ``windows``: how many of the rows each window has. The scores are in the folder afterwards, those of each window in
    a file of its own (:func:`~driftloop.training.child_job.scores_file`), up to the window at which something went
    wrong. The result has the error of a model that refuses; raises :class:`TrainingFailed` for a crash or a limit and
    :class:`TrainingCancelled`.
    """
    (folder / BROUGHT).write_bytes(challenger)
    job = Job(spec=spec, seed=0, work="score", windows=windows)
    return _result_of(job, parquet, champion, folder, processes, cancelled)


def _in_child(
    job: Job,
    parquet: bytes,
    champion: ChampionFile | None,
    folder: Path,
    processes: TrainingProcesses | None,
    cancelled: Callable[[], bool],
) -> JobResult:
    """Hand a job with its files to a child. Raises :class:`TrainingFailed` and :class:`TrainingCancelled`."""
    result = _result_of(job, parquet, champion, folder, processes, cancelled)
    if result.error is not None:
        raise TrainingFailed(result.error)
    return result


def _result_of(
    job: Job,
    parquet: bytes,
    champion: ChampionFile | None,
    folder: Path,
    processes: TrainingProcesses | None,
    cancelled: Callable[[], bool],
) -> JobResult:
    """The same, with the error that the child itself has found in the result."""
    file = None if champion is None else champion.artifact
    if champion is not None:
        job = msgspec.structs.replace(
            job,
            champion_version=champion.version,
            champion_sha256=None if file is None else hashlib.sha256(file).hexdigest(),
            champion_trained_to_ms=champion.trained_to_ms,
        )
    (folder / JOB).write_bytes(msgspec.json.encode(job))
    (folder / DATA).write_bytes(parquet)
    if file is not None:
        (folder / CHAMPION).write_bytes(file)
    if champion is not None and champion.profile is not None:
        (folder / REFERENCE).write_bytes(champion.profile)
    doing = "scoring" if job.work == "score" else "training"
    _run((processes or TrainingProcesses()).take(), folder, job.spec.training, cancelled, doing)
    return msgspec.json.decode((folder / RESULT).read_bytes(), type=JobResult)


def _launch(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # What it writes before it has a job, such as why it cannot be imported. A file, since nobody reads a pipe by then.
    early = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=early,
        stderr=subprocess.STDOUT,
        # A group of its own: Ctrl-C in a terminal is for the worker, which then decides, and all of it can be ended.
        start_new_session=True,
        # OpenMP's threads spin while they wait, which on a machine with other work slows both down many times over.
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **environment},
    )
    process.stdout = early
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and the processes that it started and left, which are in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.stdout is not None:
        process.stdout.close()


def _run(
    process: subprocess.Popen[bytes],
    folder: Path,
    limits: TrainingSpec,
    cancelled: Callable[[], bool],
    doing: str,
) -> None:
    """Hand the job to the child and wait for its end. Raises ``OSError`` if it cannot write what it leaves."""
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
                took = f"the {doing} took longer than its time limit of {duration_text(limits.time_limit_ms)}"
                raise TrainingFailed(_with_words(took, output.last_words()))
            if most_bytes is not None and takes_more_than(most_bytes, process.pid):
                output.forward(to_end=True)
                raise TrainingFailed(_with_words(too_large(most_bytes, doing), output.last_words()))
            time.sleep(_POLL_S)
        output.forward(to_end=True)
        early = last_lines(process.stdout)
    finally:
        _end(process)
    if process.returncode == NOT_WRITTEN:
        raise OSError(f"the {doing} process could not leave its files: {output.last_words()}")
    if process.returncode != 0 or not (folder / RESULT).exists():
        for text in early:
            progress.line(text)
        ended = f"the {doing} process {ended_by(process.returncode)}"
        raise TrainingFailed(_with_words(ended, output.last_words() or " / ".join(early[-3:])[-600:]))


def _with_words(what: str, last_words: str) -> str:
    return f"{what}; the last it said: {last_words}" if last_words else f"{what}; it said nothing"
