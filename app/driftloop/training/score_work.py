"""The child's side of a comparison's scoring: from two model files and rows to a file of scores for each window."""

from __future__ import annotations

import io
import os
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from driftloop.training import artifacts
from driftloop.training.child_job import BROUGHT, CHAMPION, DATA, RESULT, Job, JobResult, leave, scores_file
from driftloop.training.dataset import TrainingSet
from driftloop.training.limits import too_large
from driftloop.training.shadow_scores import ComparisonImpossible, score_windows

__all__ = ["score_in"]


def score_in(folder: Path, job: Job) -> None:
    """Score the windows one after the other. What was scored before something went wrong stays in the folder."""
    problem: str | None = None
    champion_error: str | None = None
    champion = None
    try:
        if job.champion_sha256 is not None:
            try:
                champion = artifacts.load((folder / CHAMPION).read_bytes(), sha256=job.champion_sha256)
            except artifacts.ArtifactError as error:
                # One that was registered by hand may be of any kind: what it said itself is compared all the same.
                champion_error = str(error)
        challenger = artifacts.load((folder / BROUGHT).read_bytes())
        data = TrainingSet.from_parquet(job.spec, (folder / DATA).read_bytes())
        bounds = np.cumsum([0, *job.windows]).tolist()
        windows = (data.rows(slice(first, end)) for first, end in pairwise(bounds))
        scored = score_windows(job.spec, windows, job.champion_version or "", champion, challenger)
        for place, scores in enumerate(scored):
            arrays = {"challenger": scores.challenger}
            if scores.champion is not None:
                arrays["champion"] = scores.champion
            stream = io.BytesIO()
            np.savez(stream, allow_pickle=False, **arrays)
            part = folder / "scores.part"
            leave(part, stream.getvalue())
            os.replace(part, folder / scores_file(place))
    except ComparisonImpossible as error:
        problem = str(error)
    except artifacts.ArtifactError as error:
        problem = f"the challenger's model file cannot be used: {error}"
    except MemoryError:
        limit = job.spec.training.memory_limit_bytes
        if limit is None:
            raise
        problem = too_large(limit, "scoring")
    leave(folder / RESULT, msgspec.json.encode(JobResult(error=problem, champion_error=champion_error)))
