"""The child's side of a training: from the folder that it was told to the result in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from driftloop.profiles.reference import ReferenceProfile
from driftloop.training import artifacts, progress
from driftloop.training.child_job import (
    ARTIFACT,
    BROUGHT,
    CHAMPION,
    DATA,
    JOB,
    PROFILE,
    REFERENCE,
    RESULT,
    Job,
    JobResult,
    NotWritten,
    leave,
)
from driftloop.training.dataset import SplitError, TrainingSet
from driftloop.training.estimators import EstimatorError
from driftloop.training.handover.brought import brought_from
from driftloop.training.limits import bound_memory, bound_threads, too_large
from driftloop.training.score_work import score_in
from driftloop.training.train import Champion, train
from driftloop.training.validation.keep import check_and_write
from driftloop.training.validation.validate import reason_of

__all__ = ["work_in"]


class _InvalidData(Exception):
    """The data are not to be trained on. The message is the reason."""


def work_in(folder: Path) -> None:
    """Do the job that lies in the folder and leave its result there."""
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    limit = job.spec.training.memory_limit_bytes
    if job.spec.training.threads is not None:
        bound_threads(job.spec.training.threads)
    if limit is not None:
        bound_memory(limit)
    if job.work == "score":
        score_in(folder, job)
        return
    try:
        data = TrainingSet.from_parquet(job.spec, (folder / DATA).read_bytes())
        if job.validated and job.work != "judge":
            _validate(folder, job, data)
        if job.work == "validate":
            leave(folder / RESULT, msgspec.json.encode(JobResult()))
            return
        brought = brought_from(job.spec, data, (folder / BROUGHT).read_bytes()) if job.work == "judge" else None
        trained = train(
            job.spec,
            data,
            _champion(folder, job),
            seed=job.seed,
            changed_at_ms=job.changed_at_ms,
            brought=brought,
        )
    except (EstimatorError, SplitError, _InvalidData, artifacts.ArtifactError) as error:
        result = JobResult(error=str(error))
    except MemoryError:
        if limit is None:
            raise
        result = JobResult(error=too_large(limit))
    else:
        leave(folder / ARTIFACT, trained.artifact)
        leave(folder / PROFILE, trained.profile.encode())
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
            gap=trained.gap,
        )
    leave(folder / RESULT, msgspec.json.encode(result))


def _validate(folder: Path, job: Job, data: TrainingSet) -> None:
    """Check the data before anything is trained on it. Raises :class:`_InvalidData`."""
    path = folder / REFERENCE
    reference = ReferenceProfile.decode(path.read_bytes()) if path.exists() else None
    asset = hashlib.sha256((folder / DATA).read_bytes()).hexdigest()
    try:
        result = check_and_write(folder, job.spec, data, reference, unreadable=job.unreadable, asset=asset)
    except OSError as error:
        raise NotWritten(str(error)) from error
    if result.verdict == "fail":
        raise _InvalidData(reason_of(result))


def _champion(folder: Path, job: Job) -> Champion | None:
    if job.champion_version is None:
        return None
    pipeline = None
    if job.champion_sha256 is not None:
        try:
            pipeline = artifacts.load((folder / CHAMPION).read_bytes(), sha256=job.champion_sha256)
        except artifacts.ArtifactError as error:
            # One that was registered by hand may be of any kind: then what it said live is compared.
            progress.line(f"the champion's model file is not used: {error}")
    return Champion(job.champion_version, pipeline, job.champion_trained_to_ms)
