"""A model's first version, from rows that never were on a topic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.events.time import format_time
from driftloop.registry.models import Registry
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import from_frame
from driftloop.training.dataset_files import keep_dataset
from driftloop.training.dataset_manifest import DatasetQuery
from driftloop.training.gates import first_failure, seed_from
from driftloop.training.provenance import keep_lock
from driftloop.training.registration import register
from driftloop.training.train import lineage_of, train

__all__ = ["SOURCE", "GatesFailed", "bootstrap_seed", "register_first_version"]

#: Under ``source`` in the lineage of such versions, and the actor of their registration.
SOURCE = "bootstrap"
_ACTOR = SOURCE


class GatesFailed(RuntimeError):
    """The first version did not pass its gates; it is registered and rejected."""


def bootstrap_seed(model_id: str) -> int:
    """Of the resampling in the gates of a first version."""
    return seed_from(f"{model_id}\nbootstrap")


def register_first_version(
    registry: Registry,
    spec: ModelSpec,
    frame: pd.DataFrame,
    labels: NDArray[Any],
    predicted_at_ms: NDArray[np.int64],
    event_time_ms: int,
    *,
    version: str | None = None,
) -> str:
    """Train the spec's estimator on the rows, register it and make it the champion. Returns its version.

    ``frame``: the spec's features (others are ignored); ``labels``: 0 or 1, class index, or float; ``predicted_at_ms``:
    event time of each row; all n rows, in any order. ``event_time_ms`` is the time of the promotion. The training set
    is kept as Parquet in the registry's store, with its manifest. If the model has a champion already, that one stays
    and its version is returned. Raises :class:`~driftloop.training.estimators.EstimatorError` or
    :class:`~driftloop.training.dataset.SplitError` if the rows do not allow it, and :class:`GatesFailed`.
    """
    registry.ensure_model(spec.model, spec.task, spec_digest(spec))
    champion = registry.champion(spec.model)
    if champion is not None:
        return champion.version
    data = from_frame(spec, frame, labels, predicted_at_ms)
    times = data.predicted_at_ms
    span_ms = (int(times[0]), int(times[-1]) + 1) if len(data) else (event_time_ms, event_time_ms)
    query = DatasetQuery(model=spec.model, from_ms=span_ms[0], to_ms=span_ms[1])
    _, dataset = keep_dataset(registry.store, spec, data, topic="", query=query)
    seed = bootstrap_seed(spec.model)
    trained = train(spec, data, None, seed=seed)
    span = f"{format_time(trained.seen_from_ms)} to {format_time(trained.seen_to_ms)}"
    reason = f"first version, trained on {len(data):,} rows of {span}"
    name = register(
        registry,
        spec,
        trained,
        lineage=lineage_of(
            spec,
            trained,
            dataset,
            source=SOURCE,
            judging_seed=seed,
            compared_with=None,
            lock=keep_lock(registry.store),
        ),
        event_time_ms=event_time_ms,
        reason=reason,
        actor=_ACTOR,
        version=version,
    )
    failed = first_failure(trained.gates)
    if failed is not None:
        registry.reject(spec.model, name, failed.sentence, event_time_ms, _ACTOR)
        raise GatesFailed(
            f"the first version {name} of model {spec.model} was rejected by its gate {failed.gate}: {failed.sentence}"
        )
    registry.promote(spec.model, name, reason, event_time_ms, _ACTOR)
    return name
