"""Makes a version again from its lineage and compares everything that can be compared, to the last bit.

Nothing is written: neither to the registry nor to its files.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from driftloop.observability.logs import get_logger
from driftloop.registry.errors import ArtifactError
from driftloop.registry.models import Registry
from driftloop.registry.rows import VersionRow
from driftloop.spec.model import ModelSpec
from driftloop.training import artifacts
from driftloop.training.child import (
    ChampionFile,
    TrainingFailed,
    TrainingProcesses,
    train_in_child,
    validate_in_child,
)
from driftloop.training.dataset import SplitError, TrainingSet, cut
from driftloop.training.dataset_manifest import DatasetQuery, OffsetRange, TrainingManifest
from driftloop.training.differences import ABSENT, Difference, differences
from driftloop.training.digest import model_digest
from driftloop.training.labeled_log import LabeledLog
from driftloop.training.provenance import UNKNOWN, code_commit, lock_digest, thread_variables, threads
from driftloop.training.recipe import CannotReproduce, Recipe, recipe_of
from driftloop.training.registration import named_profile
from driftloop.training.train import Trained, environment
from driftloop.training.validation.again import kept_reference, results_again

__all__ = ["CannotReproduce", "Comparison", "ReadRange", "Reproduction", "reproduce"]

log = get_logger(__name__)

#: ``read(topic, partition, first, end)``: the records at offsets [first, end) that there are, in order, in lists.
ReadRange = Callable[[str, int, int, int], Iterator[Iterable[Any]]]

#: So many differences of one subject are kept; how many there are is always said.
MOST_DIFFERENCES = 20


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One thing that was compared. ``differences``: at most :data:`MOST_DIFFERENCES` of ``count``; none: it is equal.
    ``compared``: what of it, such as a digest or how many values."""

    subject: str
    compared: str
    differences: list[Difference] = field(default_factory=list)
    count: int = 0

    @property
    def equal(self) -> bool:
        return self.count == 0


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """``environment``: what is different here, which may explain the rest. ``spec_changes``: of the present spec
    against the one of the training, which is used. ``rows_from``: where the rows came from, in words."""

    model_id: str
    version: str
    environment: list[Difference]
    spec_changes: list[Difference]
    rows_from: str
    notes: list[str]
    comparisons: list[Comparison]

    @property
    def equal(self) -> bool:
        return all(one.equal for one in self.comparisons)


@dataclass
class _Rows:
    """The rows to train on, as the file's bytes; None: there are none that can be used."""

    parquet: bytes | None
    manifest: TrainingManifest | None
    rows_from: str
    unreadable: int = 0


def reproduce(
    registry: Registry,
    version: VersionRow,
    today: Mapping[str, ModelSpec],
    *,
    folder: Path,
    read: ReadRange | None = None,
    no_log: str = "no broker was asked",
    from_log: bool = False,
    processes: TrainingProcesses | None = None,
) -> Reproduction:
    """Make the version again; one that was fitted elsewhere is judged again. ``folder``: an empty one for the
    training's files; ``today``: the present specs.

    Rows come from the topic through ``read`` if it still has them, else from the stored file (``from_log``: else it is
    not tried); ``no_log`` says why there is no ``read``. Raises :class:`CannotReproduce`.
    """
    recipe = recipe_of(registry, version, today)
    lineage = version.lineage
    notes: list[str] = []
    if recipe.brought is not None:
        by = _known(lineage["handover"]).get("place", "somebody else")
        notes.append(f"the model was fitted elsewhere (by {by}): its file is judged again, and not fitted again")
    comparisons = [_compared("spec digest", lineage.get("spec_digest"), recipe.spec_digest)]
    comparisons.append(_stored_model(registry, version, recipe))
    rows = _rows(registry, version, recipe, read, no_log, from_log, comparisons, notes)
    if rows.parquet is None:
        comparisons.append(
            _compared("model digest", lineage["model_digest"], "(not made: there are no rows to train on)")
        )
    else:
        # Some estimators keep the number of threads, and it decides how sums are parted.
        processes = processes or TrainingProcesses(thread_variables(_known(lineage.get("environment"))))
        try:
            trained = train_in_child(
                recipe.spec,
                rows.parquet,
                recipe.champion,
                seed=recipe.seed,
                folder=folder,
                changed_at_ms=recipe.changed_at_ms,
                unreadable=rows.unreadable,
                validated=recipe.validated,
                brought=recipe.brought,
                processes=processes,
            )
        except TrainingFailed as error:
            comparisons.append(_compared("model digest", lineage["model_digest"], f"(the training failed: {error})"))
        else:
            comparisons += _of_training(registry, version, trained)
        comparisons += _of_validation(registry, version, recipe, rows, folder, processes, notes)
    present = today.get(version.model_id)
    return Reproduction(
        model_id=version.model_id,
        version=version.version,
        environment=environment_differences(lineage),
        spec_changes=[] if present is None else differences(_plain(recipe.spec), _plain(present)),
        rows_from=rows.rows_from,
        notes=notes,
        comparisons=comparisons,
    )


def environment_differences(lineage: Mapping[str, Any]) -> list[Difference]:
    """Of code, packages and machine between the training and here. What was not recorded counts as ``unknown``."""
    recorded = {"code_commit": UNKNOWN, **_known(lineage.get("environment"))}
    recorded["code_commit"] = lineage.get("code_commit", UNKNOWN)
    recorded["packages_sha256"] = _known(lineage.get("lock")).get("sha256", UNKNOWN)
    here = {"code_commit": code_commit(), **environment(), "packages_sha256": lock_digest()}
    for name in threads():
        if recorded.get(name, UNKNOWN) != UNKNOWN:  # it is made again with as many
            here[name] = recorded[name]
    return differences({name: recorded.get(name, UNKNOWN) for name in [*here, *recorded]}, here)


def _stored_model(registry: Registry, version: VersionRow, recipe: Recipe) -> Comparison:
    """Whether the model file that is served is the one that was trained."""
    subject, recorded = "stored model file", version.lineage["model_digest"]
    if version.artifact is None:
        return _compared(subject, recorded, "(the version has no model file)")
    try:
        pipeline = artifacts.load(registry.store.read(version.artifact))
        found = model_digest(pipeline, recipe.spec)
    except (ArtifactError, artifacts.ArtifactError, OSError) as error:
        found = f"({error})"
    return _compared(subject, recorded, found)


def _rows(
    registry: Registry,
    version: VersionRow,
    recipe: Recipe,
    read: ReadRange | None,
    no_log: str,
    from_log: bool,
    comparisons: list[Comparison],
    notes: list[str],
) -> _Rows:
    dataset = version.lineage["dataset"]
    recorded = str(dataset.get("sha256", "unknown"))
    manifest = _stored_manifest(registry, dataset, comparisons)
    stored: bytes | None = None
    try:
        stored = registry.store.read(dataset["uri"])
        comparisons.append(_compared("stored data set", recorded, hashlib.sha256(stored).hexdigest()))
    except (ArtifactError, OSError) as error:
        comparisons.append(_compared("stored data set", recorded, f"({error})"))
    cut_again, why = None, no_log
    if manifest is None:
        why = "there is no manifest that says which offsets"
    elif not manifest.sources:
        why = "its rows never were on a topic"
    elif read is not None:
        cut_again, why = _from_log(recipe.spec, manifest, read, recorded)
    if cut_again is not None:
        assert manifest is not None, "rows are cut again by the manifest"
        parquet = cut_again.to_parquet()
        comparisons.append(_compared("data set cut again", recorded, hashlib.sha256(parquet).hexdigest()))
        comparisons.append(_manifest_again(recipe, manifest, cut_again, parquet, whole=True))
        offsets = ", ".join(f"{part.partition}: {part.first:,} to {part.end:,}" for part in manifest.sources)
        return _Rows(parquet, manifest, f"cut again from {manifest.topic}, offsets {offsets}", cut_again.unreadable)
    if from_log:
        raise CannotReproduce(f"the data set cannot be cut again from the topic: {why}")
    if stored is None:
        return _Rows(None, manifest, f"none: {why}, and the stored file cannot be used")
    try:
        data = TrainingSet.from_parquet(recipe.spec, stored)
    except (KeyError, ValueError) as error:
        comparisons.append(_compared("data set written again", recorded, f"(the file cannot be read: {error})"))
        return _Rows(None, manifest, f"none: {why}, and the stored file cannot be read")
    again = data.to_parquet()
    comparisons.append(_compared("data set written again", recorded, hashlib.sha256(again).hexdigest()))
    if manifest is not None:
        comparisons.append(_manifest_again(recipe, manifest, data, again, whole=False))
    else:
        notes.append("there is no manifest to compare: the version was registered before they were kept")
    unreadable = 0 if manifest is None else manifest.unreadable
    return _Rows(stored, manifest, f"the stored file {dataset['uri']}: {why}", unreadable)


def _stored_manifest(
    registry: Registry, dataset: Mapping[str, Any], comparisons: list[Comparison]
) -> TrainingManifest | None:
    uri = dataset.get("manifest_uri")
    if not uri:
        return None
    recorded = {name: value for name, value in dataset.items() if name not in ("uri", "manifest_uri")}
    try:
        stored = registry.store.read(uri)
        manifest = msgspec.json.decode(stored, type=TrainingManifest)
    except (ArtifactError, OSError, msgspec.DecodeError) as error:
        comparisons.append(_compared("stored manifest", str(uri).rpartition("/")[2][:64], f"({error})"))
        return None
    # As it was written: one of another release may have fields that this one does not know.
    content = msgspec.json.decode(stored)
    comparisons.append(_compared("stored manifest", recorded, {name: content.get(name, ABSENT) for name in recorded}))
    return manifest


def _from_log(
    spec: ModelSpec, manifest: TrainingManifest, read: ReadRange, recorded: str
) -> tuple[TrainingSet | None, str]:
    """The rows cut again by the manifest; None if the topic lacks some of them, with a sentence."""
    ranges = {part.partition: part for part in manifest.sources}
    lost: list[str] = []

    def counted(partition: int, _start: int) -> Iterator[Iterable[Any]]:
        part = ranges[partition]
        first: int | None = None
        end = part.first
        for records in read(manifest.topic, partition, part.first, part.end):
            batch = list(records)
            if batch:
                first = batch[0].offset if first is None else first
                end = batch[-1].offset + 1
            yield batch
        if part.end > part.first and (first != part.first or end != part.end):
            has = "nothing" if first is None else f"{first:,} to {end:,}"
            lost.append(f"{partition}: {has} of {part.first:,} to {part.end:,}")

    query = manifest.query or DatasetQuery(model=spec.model, from_ms=manifest.from_ms, to_ms=manifest.to_ms)
    try:
        labeled = LabeledLog(counted, ranges)
        rows, _ = labeled.rows(query.model, query.from_ms, query.to_ms, most_rows=spec.training.most_rows)
        sources: list[OffsetRange] = list(manifest.sources)
        data = cut(rows, spec, query.from_ms, query.to_ms, sources)
    except SplitError as error:
        return None, str(error)
    except RuntimeError as error:  # the log reader's
        return None, str(error)
    gone = f"{manifest.topic} no longer has all offsets ({'; '.join(lost)})"
    # What is gone may have been of other models or times: then the rows are all there.
    if lost and hashlib.sha256(data.to_parquet()).hexdigest() != recorded:
        return None, gone
    return data, ""


def _manifest_again(
    recipe: Recipe, manifest: TrainingManifest, data: TrainingSet, parquet: bytes, *, whole: bool
) -> Comparison:
    """``whole``: cut from the topic, so that also what was left out was counted again."""
    spec = recipe.spec
    query = manifest.query or DatasetQuery(model=spec.model, from_ms=manifest.from_ms, to_ms=manifest.to_ms)
    made = data.manifest(
        spec,
        topic=manifest.topic,
        query=query,
        sha256=hashlib.sha256(parquet).hexdigest(),
        size=len(parquet),
        dvc=manifest.dvc,
    )
    recorded, found = _plain(manifest), _plain(made)
    found["spec_digest"] = recipe.spec_digest
    # A file does not know what was left out when it was written; and of a log that holds more rows than are taken, how
    # many were superseded depends on how many were held at a time.
    apart = ["sources", "superseded", "unreadable"]
    if whole:
        apart = ["superseded"] if len(data) >= spec.training.most_rows else []
    for name in apart:
        found[name] = recorded[name]
    if manifest.query is None:
        found["query"] = recorded["query"]
    return _compared("manifest", recorded, found)


def _of_training(registry: Registry, version: VersionRow, trained: Trained) -> Iterator[Comparison]:
    lineage = version.lineage
    yield _compared("model digest", lineage["model_digest"], trained.model_digest)
    choice = lineage.get("choice")
    if choice is not None or trained.choice is not None:
        recorded, found = choice or {}, {} if trained.choice is None else _plain(trained.choice)
        yield _compared("selection digest", recorded.get("selection_sha256"), found.get("selection_sha256"))
        yield _compared("choice of the candidate", recorded, found)
    for name, made in (("search", trained.search), ("learned_on", trained.learned_on), ("gap", trained.gap)):
        if lineage.get(name) is not None or made is not None:
            subject = {"search": "search of parameters", "learned_on": "start of the River model"}
            yield _compared(
                subject.get(name, "rows in the gap"), lineage.get(name), None if made is None else _plain(made)
            )
    counts = {"train_rows": trained.train_rows, "holdout_rows": trained.holdout_rows}
    counts |= {"seen_from_ms": trained.seen_from_ms, "seen_to_ms": trained.seen_to_ms}
    wanted = {"train_rows": lineage.get("train_rows"), "holdout_rows": lineage.get("holdout_rows")}
    wanted |= {"seen_from_ms": version.trained_from_ms, "seen_to_ms": version.trained_to_ms}
    yield _compared("rows trained on", wanted, counts)
    yield _compared("metrics", _plain(version.metrics), _plain(trained.metrics))
    yield _compared("gates", _plain(version.gates), _plain(trained.gates))
    yield _profile(registry, version, trained)


def _of_validation(
    registry: Registry,
    version: VersionRow,
    recipe: Recipe,
    rows: _Rows,
    folder: Path,
    processes: TrainingProcesses,
    notes: list[str],
) -> Iterator[Comparison]:
    """Check by check, also of a training that the checks have ended."""
    recorded = _known(version.lineage.get("validation"))
    if not recorded:
        if recipe.validated:
            notes.append("no result of a validation of the data was kept, so that none is compared")
        return
    if recipe.brought is not None and rows.parquet is not None:
        # Its data were validated before they were handed over, against the champion of that time.
        name, folder = kept_reference(registry.store, recorded), folder / "validation"
        profile = None if name is None else registry.profile(version.model_id, name)
        champion = None if name is None else ChampionFile(name, None, None, profile)
        folder.mkdir()
        with contextlib.suppress(TrainingFailed):  # the results say so
            validate_in_child(
                recipe.spec, rows.parquet, champion, folder=folder, unreadable=rows.unreadable, processes=processes
            )
    for subject, kept, made in results_again(registry.store, recorded, folder):
        yield _compared(subject, kept, made)


def _profile(registry: Registry, version: VersionRow, trained: Trained) -> Comparison:
    """The digest; if it differs, the parts that do."""
    made = named_profile(trained.profile, version.version).encode()
    digest = hashlib.sha256(made).hexdigest()
    stored = registry.profile(version.model_id, version.version)
    found = differences(version.profile_sha256, digest)
    if stored is not None:
        stored_digest = hashlib.sha256(stored).hexdigest()
        if stored_digest != version.profile_sha256:
            found += [Difference(where="stored profile", recorded=version.profile_sha256, found=stored_digest)]
        if found:
            found += differences(msgspec.json.decode(stored), msgspec.json.decode(made))
    return _comparison("reference profile", version.profile_sha256, found)


def _compared(subject: str, recorded: Any, found: Any) -> Comparison:
    if isinstance(recorded, str) or recorded is None:
        compared = str(recorded)
    else:
        compared = f"{_leaves(recorded):,} values"
    return _comparison(subject, compared, differences(recorded, found))


def _comparison(subject: str, compared: str, found: list[Difference]) -> Comparison:
    return Comparison(subject=subject, compared=compared, differences=found[:MOST_DIFFERENCES], count=len(found))


def _leaves(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(_leaves(part) for part in value.values())
    return sum(_leaves(part) for part in value) if isinstance(value, list) else 1


def _plain(value: Any) -> Any:
    """As it is read back from the database."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _known(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
