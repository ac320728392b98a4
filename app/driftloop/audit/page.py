"""An account as sections of facts, tables and sentences: the one form that text and HTML are made from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct, field

from driftloop.audit.account import Account
from driftloop.audit.history import VersionAccount, WindowAccount
from driftloop.events.time import duration_text, format_time

__all__ = ["Grid", "Section", "sections"]

_SHORT = 12


class Grid(Struct, frozen=True, kw_only=True):
    """A table. ``right``: columns of numbers."""

    columns: list[str]
    rows: list[list[str]]
    right: list[int] = field(default_factory=list)


class Section(Struct, frozen=True, kw_only=True):
    """A question and its answer."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def sections(account: Account) -> Iterator[Section]:
    """In the order in which they are asked: what was said, by whom, why that one, what else was known, what came."""
    yield _said(account)
    yield _features(account)
    yield _version(account)
    if account.version is not None:
        yield _training(account.version)
    yield _windows(account)
    yield _outcome(account)
    if account.notes:
        yield Section(title="What could not be told, and why", sentences=list(account.notes))


def _said(account: Account) -> Section:
    facts = [
        ("prediction", _text(account.prediction)),
        ("made at", format_time(account.predicted_at_ms)),
        ("by", f"{account.model_id} {account.model_version}"),
        ("variant", account.variant or "none"),
        ("record", f"{account.topic}, partition {account.partition}, offset {account.offset:,}"),
    ]
    if account.said_again is not None:
        difference = account.said_difference
        told = "" if difference is None else f", {difference:.3g} from what was published"
        facts.append(("its model file says", f"{_value(account.said_again)}{told}"))
    return Section(title="What was predicted", facts=facts)


def _features(account: Account) -> Section:
    """Values, where they stood, and what they did, in one table."""
    values = _object(account.features)
    stood = {one.feature: one for one in account.standings}
    parts = {} if account.moved is None else {part.feature: part for part in account.moved.parts}
    errors = any(part.standard_error is not None for part in parts.values())
    names = [name for name in parts if name in values or name in stood]
    names += [name for name in stood if name not in names and not name.startswith("@prediction")]
    names += [name for name in values if name not in names]
    columns = ["feature", "value", "in the reference"]
    if parts:
        columns += ["moved the output by", *(["standard error"] if errors else [])]
    rows = []
    for name in names:
        value = stood[name].value if name in stood and name not in values else values.get(name)
        row = [name, _value(value), stood[name].sentence if name in stood else "not a feature of the version"]
        if parts:
            part = parts.get(name)
            row.append("" if part is None else f"{part.value:+.5g}")
            if errors:
                error = None if part is None else part.standard_error
                row.append("" if error is None else f"{error:.2g}")
        rows.append(row)
    sentences = []
    if account.moved is not None:
        found = account.moved
        how = "exact" if found.exact else "sampled Shapley values"
        sentences.append(
            f"{found.scale}: {found.output:.6g} = {found.base:.6g}, the mean over {found.background_rows:,} rows of "
            f"{account.background}, and the features' contributions ({how}"
            f"{'' if abs(found.remainder) < 1e-9 else f'; not attributed {found.remainder:+.2g}'})."
        )
    own = stood.get("@prediction")
    if own is not None:
        sentences.append(f"the prediction itself: {own.sentence}.")
    return Section(
        title="Its features: where they stood, and which moved it",
        grids=[Grid(columns=columns, rows=rows, right=list(range(3, len(columns))))],
        sentences=sentences,
    )


def _version(account: Account) -> Section:
    facts = [("version", f"{account.model_id} {account.model_version}")]
    version = account.version
    champion = account.champion_then
    if champion is None:
        facts.append(("champion at that time", "none, by the times of the promotions"))
    elif champion == account.model_version:
        facts.append(("champion at that time", "this one"))
    else:
        facts.append(("champion at that time", f"{champion}, NOT this one"))
    if version is None:
        return Section(title="By which version", facts=facts, sentences=["The registry does not have this version."])
    facts.append(("status now", f"{version.status}{_aliases(version)}"))
    facts.append(("model file", version.model_file or "none"))
    rows = [
        [change.action, format_time(change.event_time_ms), change.actor, change.reason] for change in version.history
    ]
    grids = [Grid(columns=["what", "when", "by whom", "why"], rows=rows)]
    if version.gates:
        grids.append(
            Grid(
                columns=["gate", "verdict", "what it says"],
                rows=[[gate.gate, "passed" if gate.passed else "FAILED", gate.sentence] for gate in version.gates],
            )
        )
    return Section(title="By which version, approved when, by whom and why", facts=facts, grids=grids)


def _aliases(version: VersionAccount) -> str:
    return f" ({', '.join(version.aliases)})" if version.aliases else ""


def _training(version: VersionAccount) -> Section:
    if version.model_digest is None:
        return Section(title="Trained on what", sentences=["It was registered without a training: nothing is known."])
    dataset = version.dataset
    facts = [("data set", f"{dataset.get('sha256', 'unknown')}{'' if version.dataset_kept else ' (its file is gone)'}")]
    trained, held = (_count(number) for number in (version.train_rows, version.holdout_rows))
    facts.append(("rows", f"{_count(dataset.get('rows'))}: fitted on {trained}, judged on {held}"))
    if version.rows_from_ms is not None and version.rows_to_ms is not None:
        facts.append(("predicted", f"{format_time(version.rows_from_ms)} to {format_time(version.rows_to_ms - 1)}"))
    sources = dataset.get("sources") or []
    if sources:
        offsets = ", ".join(f"{one['partition']}: {one['first']:,} to {one['end']:,}" for one in sources)
        facts.append(("offsets", f"{dataset.get('topic')}, by partition {offsets}"))
    else:
        facts.append(("offsets", "its rows never were on a topic"))
    facts += [
        ("validation", version.validation or "not validated"),
        ("estimator", f"{version.estimator or 'unknown'} {_value(version.parameters)}, seed {version.seed}"),
        ("compared with", version.compared_with or "nothing: there was no champion"),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in version.metrics.items()) or "none"),
        ("model digest", version.model_digest),
        ("commit", version.code_commit),
        ("environment", ", ".join(f"{name} {value}" for name, value in version.environment.items()) or "unknown"),
        ("lock", version.lock_sha256 or "unknown"),
    ]
    return Section(title="Trained on what, by which code", facts=facts)


def _windows(account: Account) -> Section:
    rows = [_window(window) for window in account.windows]
    sentences = [
        f"{window.kind} {window.segment or 'all rows'}: {problem}"
        for window in account.windows
        for problem in window.problems
    ]
    if account.alerts:
        sentences += [
            f"open alert since {format_time(alert.opened_at_ms)}: {alert.severity} {alert.kind} "
            f"{alert.subject}{f' ({alert.segment})' if alert.segment else ''}: {alert.message}"
            for alert in account.alerts
        ]
    else:
        sentences.append("No alert of the model was open at that time.")
    columns = ["window", "kind", "rows of", "rows", "verdict", "what it says"]
    grids = [Grid(columns=columns, rows=rows, right=[3])] if rows else []
    return Section(title="What the windows said then", grids=grids, sentences=sentences)


def _window(window: WindowAccount) -> list[str]:
    length = duration_text(window.window_end_ms - window.window_start_ms)
    says = window.sentence
    if window.kind == "outcome":
        values = []
        for metric in window.metrics[:4]:
            reference = "" if metric.reference is None else f" (reference {metric.reference:.4g})"
            values.append(f"{metric.metric} {metric.value:.4g}{reference}")
        says = " ".join(filter(None, [says, ", ".join(values)]))
    status = "" if window.status == "final" else f", {window.status}"
    counted = f"{window.rows:,}" if window.kind == "input" else f"{window.rows:,}, {window.labeled_rows:,} labeled"
    return [
        f"{format_time(window.window_start_ms)} +{length}",
        window.kind,
        window.segment or "all",
        counted,
        f"{window.decision}{status}",
        says,
    ]


def _outcome(account: Account) -> Section:
    found = account.outcome
    if found is None:
        return Section(title="What came true", sentences=["No label has come."])
    rows = [
        [
            _text(label.label),
            str(label.revision),
            format_time(label.known_at_ms),
            f"{label.offset:,}",
            "this one" if label.counts else "",
        ]
        for label in found.labels
    ]
    sentences = [f"{found.sentence}."] if found.sentence else []
    if found.errors:
        numbers = (f"{name.replace('_', ' ')} {value:.6g}" for name, value in found.errors.items())
        sentences.append(f"{', '.join(numbers)}.")
    joined = "joined after its window had closed" if found.late else "joined" if found.joined else "not joined yet"
    delay = duration_text(abs(found.delay_ms))
    facts = [("delay", delay if found.delay_ms >= 0 else f"{delay} before the prediction"), ("pair", joined)]
    grid = Grid(columns=["label", "revision", "known at", "offset", "counts"], rows=rows, right=[1, 3])
    return Section(title="What came true", facts=facts, grids=[grid], sentences=sentences)


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return msgspec.json.encode(value).decode()


def _count(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int) else "?"
