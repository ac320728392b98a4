"""Checks of a spec's ``training`` that need more than one key, or more than a type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any

from driftloop.events.time import parse_duration_ms
from driftloop.spec.metrics import VALUE_METRICS, direction_of, known_metrics
from driftloop.spec.model import ModelSpec
from driftloop.spec.problems import KeyPath
from driftloop.spec.training import GAP_LABELS, CandidateSpec, SearchSpec, parse_bytes

__all__ = ["MAX_COMBINATIONS", "training_problems"]

Found = Iterator[tuple[KeyPath, str]]

#: Combinations that a grid may have, and candidates that a model may have.
MAX_COMBINATIONS = 500
MAX_CANDIDATES = 8

_IMPORT_PATH = re.compile(r"river(\.[A-Za-z_]\w*)+")

#: What each kind of candidate takes beside its name.
_KEYS: dict[str, set[str]] = {
    "window": {"last", "rows"},
    "since_change": set(),
    "everything": set(),
    "decayed": {"last", "half_life"},
    "reservoir": {"last", "rows", "stratum", "seed"},
}


def training_problems(spec: ModelSpec) -> Found:
    """What is wrong with candidates, choice, search, River model and limits, each with its key."""
    training = spec.training
    path: KeyPath = ("training",)
    for index, candidate in enumerate(training.candidates):
        yield from _candidate(spec, (*path, "candidates", index), candidate)
        if candidate in training.candidates[:index]:
            yield (*path, "candidates", index), "the same candidate is listed twice"
    yield from _candidates(spec)
    yield from _metric(spec, (*path, "choice", "metric"), training.choice.metric)
    if training.search is not None:
        yield from _search(spec, (*path, "search"), training.search)
    yield from _river(spec)
    yield from _gap(spec)
    if training.memory_limit is not None:
        try:
            if parse_bytes(training.memory_limit) < 2**26:
                yield (*path, "memory_limit"), f"expected 64MiB or more, got {training.memory_limit!r}"
        except ValueError as error:
            yield (*path, "memory_limit"), str(error)
    if training.minimum_rows > training.most_rows:
        yield (
            (*path, "most_rows"),
            f"expected at least training.minimum_rows, which is {training.minimum_rows}, got {training.most_rows}",
        )
    jobs = training.parameters.get("n_jobs")
    if training.threads is not None and isinstance(jobs, int) and jobs > training.threads:
        yield (
            (*path, "parameters", "n_jobs"),
            f"{jobs} jobs are more than training.threads, which is {training.threads}",
        )


def _candidates(spec: ModelSpec) -> Found:
    training = spec.training
    path: KeyPath = ("training", "candidates")
    if not training.candidates:
        return
    if len(training.candidates) > MAX_CANDIDATES:
        yield path, f"expected {MAX_CANDIDATES} candidates at most, got {len(training.candidates)}"
    if training.since_change:
        yield (
            ("training", "since_change"),
            "with training.candidates, list {candidate: since_change} there and leave this key out",
        )
    if {candidate.candidate for candidate in training.candidates} == {"since_change"}:
        yield path, "since_change needs another candidate beside it, for when no change has been dated"
    if training.river is not None:
        yield path, "a River model learns on from the champion, row by row; leave the candidates or training.river out"


def _candidate(spec: ModelSpec, path: KeyPath, candidate: CandidateSpec) -> Found:
    kind = candidate.candidate
    for key in ("last", "rows", "half_life", "stratum", "seed"):
        if getattr(candidate, key) is not None and key not in _KEYS[kind]:
            allowed = ", ".join(sorted(_KEYS[kind])) or "no key beside it"
            yield (*path, key), f"a candidate {kind!r} has {allowed}; leave {key!r} out"
    for key in ("last", "half_life", "stratum"):
        text = getattr(candidate, key)
        if text is None:
            continue
        try:
            if parse_duration_ms(text) <= 0:
                yield (*path, key), f"expected a duration longer than nothing, got {text!r}"
        except ValueError as error:
            yield (*path, key), str(error)
    if kind == "window" and (candidate.last is None) == (candidate.rows is None):
        yield path, "a candidate 'window' needs one of 'last', such as last: 30d, and 'rows', such as rows: 10000"
    if kind == "decayed" and candidate.half_life is None:
        yield (*path, "half_life"), "a candidate 'decayed' needs 'half_life', such as half_life: 14d"
    if kind == "reservoir" and candidate.rows is None:
        yield (*path, "rows"), "a candidate 'reservoir' needs 'rows', such as rows: 10000"
    if candidate.rows is not None and candidate.rows > spec.training.most_rows:
        yield (
            (*path, "rows"),
            f"{candidate.rows} rows are more than training.most_rows, which is {spec.training.most_rows}",
        )
    if kind == "since_change" and not spec.concept.detectors:
        yield path, "only a concept detector dates a change, and there is none under concept.detectors"


def _search(spec: ModelSpec, path: KeyPath, search: SearchSpec) -> Found:
    yield from _metric(spec, (*path, "metric"), search.metric)
    if spec.training.river is not None:
        yield path, "a River model is not fitted anew, so nothing can be searched; leave search or training.river out"
    sizes = []
    for name, values in search.parameters.items():
        where = (*path, "parameters", name)
        if isinstance(values, list) and values:
            sizes.append(len(values))
        elif isinstance(values, dict) and set(values) & {"low", "high"}:
            yield from _range(where, search, values)
        else:
            yield where, "expected a list of values, or for random a range {low, high, log, integer}"
    if search.method == "grid" and prod(sizes) > MAX_COMBINATIONS:
        yield (
            (*path, "parameters"),
            f"the grid has {prod(sizes):,} combinations, at most {MAX_COMBINATIONS} are tried; use method: random",
        )


def _range(path: KeyPath, search: SearchSpec, values: dict[str, Any]) -> Found:
    if search.method == "grid":
        yield path, "a grid has lists of values only; list them, or use method: random"
        return
    unknown = sorted(set(values) - {"low", "high", "log", "integer"})
    if unknown:
        yield (*path, unknown[0]), "a range has the keys low, high, log and integer"
    low, high = values.get("low"), values.get("high")
    numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in (low, high))
    if not numbers or not low < high:  # type: ignore[operator]
        yield path, f"expected numbers low < high, got low {low!r} and high {high!r}"
    elif values.get("log") and low <= 0:  # type: ignore[operator]
        yield (*path, "low"), f"a range with log: true begins above 0, got {low:g}"
    for key in ("log", "integer"):
        if not isinstance(values.get(key, False), bool):
            yield (*path, key), f"expected true or false, got {values[key]!r}"


def _river(spec: ModelSpec) -> Found:
    river = spec.training.river
    if river is None:
        return
    if spec.task == "ranking":
        yield ("training", "river"), "ranking models are watched but not trained here; leave the key out"
    if spec.training.estimator is not None or spec.training.parameters:
        yield (
            ("training", "river"),
            "either training.estimator (with parameters) or training.river is trained, not both",
        )
    if not _IMPORT_PATH.fullmatch(river.model):
        yield (
            ("training", "river", "model"),
            f"expected an import path such as 'river.linear_model.LogisticRegression', got {river.model!r}",
        )


def _gap(spec: ModelSpec) -> Found:
    gap, path = spec.training.gap, ("training", "gap")
    if gap is None or gap == GAP_LABELS:
        return
    try:
        gap_ms = parse_duration_ms(gap)
    except ValueError:
        yield path, f"expected a duration such as '7d', or '{GAP_LABELS}', got {gap!r}"
        return
    if gap_ms <= 0:
        yield path, f"expected a duration longer than nothing, got {gap!r}; leave the key out for no gap"
        return
    if spec.training.candidates or any(trigger.last is not None for trigger in spec.policy.triggers):
        return  # they say how much is trained on
    try:
        last_ms = spec.training.last_ms
    except ValueError:
        return  # said already
    if gap_ms >= last_ms:
        yield path, f"a gap of {gap} leaves nothing to learn of training.last, which is {spec.training.last}"


def _metric(spec: ModelSpec, path: KeyPath, metric: str | None) -> Found:
    if metric is None:
        return
    if metric in VALUE_METRICS or (direction_of(spec.task, metric) or 0) == 0:
        known = ", ".join(name for name in known_metrics(spec.task, judged=True) if name not in VALUE_METRICS)
        yield path, f"expected a metric that can be better or worse ({known}), got {metric!r}"
