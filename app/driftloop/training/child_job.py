"""What a training process is told and what it answers: files in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from driftloop.events.decisions import GateResult
from driftloop.spec.model import ModelSpec
from driftloop.training.choice import Choice
from driftloop.training.gap import GapReport
from driftloop.training.learning_on import LearnedOn
from driftloop.training.search import SearchResult

__all__ = [
    "ARTIFACT",
    "BROUGHT",
    "CHAMPION",
    "DATA",
    "JOB",
    "NOT_WRITTEN",
    "PROFILE",
    "REFERENCE",
    "RESULT",
    "Job",
    "JobResult",
    "NotWritten",
    "leave",
    "scores_file",
]

#: To the child.
JOB, DATA, CHAMPION, REFERENCE, BROUGHT = (
    "job.json",
    "data.parquet",
    "champion.skops",
    "reference.json",
    "brought.skops",
)
#: From the child.
RESULT, ARTIFACT, PROFILE = "result.json", "artifact.skops", "profile.json"


#: The exit code of a child that could not leave its files.
NOT_WRITTEN = 74


class NotWritten(Exception):
    """A file of the job could not be written: no fault of the model. The message says which, and why."""


def leave(path: Path, content: bytes) -> None:
    """Write a file for the parent. Raises :class:`NotWritten`."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise NotWritten(str(error)) from error


def scores_file(place: int) -> str:
    """From the child: the scores of the window at this place among those that it was given."""
    return f"scores-{place}.npz"


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
    #: ``validate`` ends after the checks of the data; ``judge`` takes a model that was fitted elsewhere; ``score`` has
    #: that one and the champion score the rows of ``windows``.
    work: Literal["train", "validate", "judge", "score"] = "train"
    validated: bool = True
    #: How many of the rows are of the first window, of the second, and so on.
    windows: list[int] = []


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
    gap: GapReport | None = None
    #: Why the champion's file scored nothing.
    champion_error: str | None = None
