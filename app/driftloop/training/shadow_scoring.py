"""Scoring of a comparison's windows in a process of its own: a model that crashes, hangs or takes too much ends that
process, within the limits that the spec sets for a training, and never the trainer.

Starting a process takes seconds of imports, so one serves all windows of a look. It leaves the scores of each window
as soon as it has them: of several windows those before the one that it ended at count.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from driftloop.spec.model import ModelSpec
from driftloop.training import progress
from driftloop.training.child import ChampionFile, TrainingFailed, TrainingProcesses, score_in_child
from driftloop.training.child_job import scores_file
from driftloop.training.dataset import TrainingSet
from driftloop.training.shadow_scores import Scored, WindowScores

__all__ = ["ScoringProcess"]


class ScoringProcess:
    """A :class:`~driftloop.training.shadow_scores.Scorer`. ``folder``: where the files of a process lie meanwhile."""

    def __init__(self, folder: Path, processes: TrainingProcesses | None = None) -> None:
        self._folder = folder
        self._processes = processes or TrainingProcesses()

    def __call__(
        self,
        spec: ModelSpec,
        windows: Sequence[TrainingSet],
        *,
        champion: str,
        champion_file: bytes | None,
        challenger: str,
        challenger_file: bytes,
        cancelled: Callable[[], bool],
    ) -> Scored:
        """Raises :class:`~driftloop.training.child.TrainingCancelled`, and ``OSError`` if no process can be started or
        no file written: then nothing is known about the models."""
        told = _Told()
        problem, champion_error = None, None
        with _work_folder(self._folder, f"{spec.model} {challenger}") as name:
            folder = Path(name)
            try:
                with progress.listening(told):
                    result = score_in_child(
                        spec,
                        reduce(TrainingSet.followed_by, windows).to_parquet(),
                        ChampionFile(champion, champion_file, None),
                        challenger_file,
                        windows=[len(window) for window in windows],
                        folder=folder,
                        processes=self._processes,
                        cancelled=cancelled,
                    )
                problem, champion_error = result.error, result.champion_error
            except TrainingFailed as error:
                problem = f"{told.phase_text}: {error}" if told.phase_text else str(error)
            found = [_read(path) for place in range(len(windows)) if (path := folder / scores_file(place)).exists()]
        return Scored(found, problem, champion_error)


class _Told:
    """Keeps what the process began last."""

    def __init__(self) -> None:
        self.phase_text = ""

    def phase(self, text: str) -> None:
        self.phase_text = text

    def line(self, text: str) -> None:
        """Its last lines are part of the reason, should it end badly."""

    def kept(self, role: str, uri: str) -> None:
        """It keeps nothing."""


def _read(path: Path) -> WindowScores:
    with np.load(path, allow_pickle=False) as arrays:
        found = dict(arrays)
    return WindowScores(challenger=found["challenger"], champion=found.get("champion"))


def _work_folder(parent: Path, comparison: str) -> tempfile.TemporaryDirectory[str]:
    """A new folder. What a trainer that was killed left of the same comparison, whose lease it had, is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f"scores-{hashlib.sha256(comparison.encode()).hexdigest()[:32]}-"
    for left in parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True)
