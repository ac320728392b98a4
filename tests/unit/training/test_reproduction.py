"""Versions made again from their lineage: equal if nothing was touched, and what was touched is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import update
from typer import Typer
from typer.testing import CliRunner

from driftloop.cli.reproduce import reproduce as command
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Labeled
from driftloop.profiles.reference import ReferenceProfile
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.registry.database import writing
from driftloop.registry.tables import model_versions
from driftloop.spec.training import CandidateSpec
from driftloop.training import reproduction
from driftloop.training import run as run_module
from driftloop.training.bootstrap import register_first_version
from driftloop.training.child import ChampionFile, TrainingFailed
from driftloop.training.dataset import OffsetRange, TrainingSet
from driftloop.training.differences import ABSENT, differences
from driftloop.training.provenance import code_commit, locked_packages, machine
from driftloop.training.recipe import CannotReproduce
from driftloop.training.reproduction import Reproduction, reproduce
from driftloop.training.run import CommandRunner
from driftloop.training.train import Champion, Trained, train
from driftloop.training.validation.keep import check_and_write
from support.training_rows import make_labeled, make_rows, make_spec

COMMAND = RetrainCommand(
    command_id="c" * 32,
    model_id="m",
    champion_version="v1",
    trigger="performance",
    reason="roc_auc fell",
    window_end_ms=10**10,
    from_ms=0,
    to_ms=10**10,
    changed_at_ms=10**9 + 20_000_000,
)
SPEC = make_spec(
    training={
        "candidates": [
            CandidateSpec(candidate="everything"),
            CandidateSpec(candidate="since_change"),
        ],
        "expectations": {
            "name": "rows",
            "expectations": [
                {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x", "mostly": 0.9}},
                {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "x", "min_value": -1}},
            ],
        },
    }
)


class Record(NamedTuple):
    offset: int
    value: bytes


class Topic:
    """Stands for one partition of the labeled topic, of which ``lost`` records are gone."""

    def __init__(self, rows: list[Labeled]) -> None:
        self.records = [Record(at, msgspec.json.encode(row)) for at, row in enumerate(rows)]
        self.found = rows
        self.lost = 0

    def rows(self, *_: Any, most_rows: int | None = None) -> tuple[list[Labeled], list[OffsetRange]]:
        return self.found, [OffsetRange(partition=0, first=0, end=len(self.found))]

    def read(self, topic: str, partition: int, first: int, end: int) -> Iterator[Iterable[Record]]:
        assert (topic, partition) == ("t.labeled", 0)
        kept = [record for record in self.records if max(first, self.lost) <= record.offset < end]
        yield from (kept[at : at + 90] for at in range(0, len(kept), 90))


def in_this_process(  # type: ignore[no-untyped-def]
    spec, parquet: bytes, champion: ChampionFile | None, *, seed: int, folder: Path, **more: Any
) -> Trained:
    """The child's work without a process; the process itself has tests of its own."""
    from driftloop.training.artifacts import load

    data = TrainingSet.from_parquet(spec, parquet)
    rival = None
    if champion is not None:
        pipeline = None if champion.artifact is None else load(champion.artifact)
        rival = Champion(champion.version, pipeline, champion.trained_to_ms)
    if more.get("validated", True):
        profile = None if champion is None or champion.profile is None else ReferenceProfile.decode(champion.profile)
        digest = hashlib.sha256(parquet).hexdigest()
        check_and_write(folder, spec, data, profile, unreadable=more.get("unreadable", 0), asset=digest)
    try:
        return train(spec, data, rival, seed=seed, changed_at_ms=more.get("changed_at_ms"))
    except ValueError as error:
        raise TrainingFailed(str(error)) from error


class World:
    """v1, a first version from rows that never were on a topic, and v2, which a command made from the topic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        engine = open_engine(f"sqlite:///{folder / 'driftloop.db'}")
        create_schema(engine)
        self.registry = Registry(engine, ArtifactStore(folder / "artifacts"))
        frame, labels, times = make_rows()
        self.topic = Topic(make_labeled(SPEC, frame, labels, times + 10**9))

    def train(self) -> None:
        register_first_version(self.registry, make_spec(), *make_rows(seed=1, sign=-1.0), 100)
        CommandRunner(
            {"m": SPEC},
            self.registry,
            self.topic,  # type: ignore[arg-type]
            labeled_topic="t.labeled",
            folder=self.folder / "trainer",
        ).run(COMMAND)
        self.registry.engine.dispose()

    def again(self, version: str, **more: Any) -> Reproduction:
        row = self.registry.version("m", version)
        assert row is not None
        more.setdefault("read", self.topic.read)
        return reproduce(self.registry, row, more.pop("today", {"m": SPEC}), folder=self.folder, **more)

    def change(self, version: str, **values: Any) -> None:
        """Behind the registry's back."""
        with writing(self.registry.engine) as connection:
            connection.execute(update(model_versions).where(model_versions.c.version == version).values(**values))

    def lineage(self, version: str) -> dict[str, Any]:
        row = self.registry.version("m", version)
        assert row is not None
        return dict(row.lineage)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained once; every test gets a copy."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "train_in_child", in_this_process)
        World(folder).train()
    return folder


@pytest.fixture
def world(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(reproduction, "train_in_child", in_this_process)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return World(tmp_path)


def differing(found: Reproduction) -> set[str]:
    return {one.subject for one in found.comparisons if not one.equal}


def test_a_version_of_a_command_is_the_same_from_the_topic_and_from_its_file(world: World) -> None:
    found = world.again("v2")
    assert found.equal, differing(found)
    assert found.environment == []
    assert found.rows_from == "cut again from t.labeled, offsets 0: 0 to 400"
    subjects = [one.subject for one in found.comparisons]
    for subject in ("data set cut again", "manifest", "model digest", "selection digest", "metrics", "gates"):
        assert subject in subjects
    assert "reference profile" in subjects
    # Some records are gone, all of rows that were trained on.
    world.topic.lost = 10
    found = world.again("v2")
    assert found.equal, differing(found)
    assert "no longer has all offsets (0: 10 to 400 of 0 to 400)" in found.rows_from
    with pytest.raises(CannotReproduce, match=r"cannot be cut again from the topic: .* no longer has all offsets"):
        world.again("v2", from_log=True)


def test_a_first_version_is_the_same_from_its_file(world: World) -> None:
    lineage = world.lineage("v1")
    assert lineage["source"] == "bootstrap"
    assert lineage["dataset"]["rows"] == 400
    found = world.again("v1")
    assert found.equal, differing(found)
    assert found.rows_from.endswith("its rows never were on a topic")
    assert [part.where for part in found.spec_changes if part.where == "training.candidates.0"]


def test_a_lineage_says_all_that_a_fit_depends_on(world: World) -> None:
    for version in ("v1", "v2"):
        lineage = world.lineage(version)
        assert lineage["code_commit"] == code_commit()
        assert lineage["environment"].items() >= machine().items()
        assert world.registry.store.read(lineage["lock"]["uri"]).decode() == locked_packages()
        assert "numpy==" in locked_packages()
        assert isinstance(lineage["judging_seed"], int)


def test_a_damaged_data_set_is_named_and_the_topic_stands_in(world: World) -> None:
    store = world.registry.store
    path = store.path(world.lineage("v2")["dataset"]["uri"])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    found = world.again("v2")
    assert differing(found) == {"stored data set"}
    assert "damaged" in found.comparisons[3].differences[0].found
    found = world.again("v2", read=None, no_log="no broker")
    assert differing(found) == {"stored data set", "model digest"}
    path.unlink()
    assert "stored data set" in differing(world.again("v2"))


def test_another_files_rows_under_the_versions_name_are_named(world: World) -> None:
    lineage = world.lineage("v2")
    frame, labels, times = make_rows(seed=5)
    from driftloop.training.dataset import from_frame

    other = world.registry.store.put_bytes(from_frame(SPEC, frame, labels, times).to_parquet(), ".parquet")
    lineage["dataset"] = {**lineage["dataset"], "uri": other.uri}
    world.change("v2", lineage=json.dumps(lineage))
    found = world.again("v2", read=None)
    assert {"stored data set", "data set written again", "manifest", "model digest", "metrics"} <= differing(found)
    first = next(one for one in found.comparisons if one.subject == "stored data set").differences[0]
    assert (first.recorded, first.found) == (lineage["dataset"]["sha256"], other.sha256)


def test_changed_records_of_the_topic_are_named(world: World) -> None:
    row = msgspec.structs.replace(world.topic.found[200], label=msgspec.Raw(b"1"), revision=1)
    world.topic.records[200] = Record(200, msgspec.json.encode(row))
    found = world.again("v2")
    assert {"data set cut again", "manifest"} <= differing(found)


def test_a_swapped_model_file_is_named(world: World) -> None:
    first = world.registry.version("m", "v1")
    assert first is not None
    assert first.artifact is not None
    artifact = first.artifact
    values = {"artifact_uri": artifact.uri, "artifact_sha256": artifact.sha256, "artifact_size": artifact.size}
    world.change("v2", **values)
    found = world.again("v2")
    assert differing(found) == {"stored model file"}
    difference = found.comparisons[1].differences[0]
    assert difference.recorded == world.lineage("v2")["model_digest"]
    assert difference.found == world.lineage("v1")["model_digest"]


def test_another_spec_parameter_or_seed_is_named(world: World) -> None:
    lineage = world.lineage("v2")
    spec = json.loads(lineage["spec"])
    spec["training"]["parameters"] = {"C": 0.01}
    world.change("v2", lineage=json.dumps({**lineage, "spec": json.dumps(spec)}))
    assert {"spec digest", "model digest", "metrics", "reference profile"} <= differing(world.again("v2"))
    world.change("v2", lineage=json.dumps({**lineage, "judging_seed": 1}))
    assert "gates" in differing(world.again("v2"))
    assert "model digest" not in differing(world.again("v2"))


def test_changed_numbers_of_the_registry_are_named(world: World) -> None:
    row = world.registry.version("m", "v2")
    assert row is not None
    name, value = next(iter(row.metrics.items()))
    moved = {**row.metrics, name: float.fromhex(value.hex()) * (1 + 2**-52)}
    assert moved[name] != value
    world.change("v2", metrics=json.dumps(moved))
    found = world.again("v2")
    assert differing(found) == {"metrics"}
    (difference,) = next(one for one in found.comparisons if not one.equal).differences
    assert (difference.where, difference.found) == (name, value)


def test_other_results_of_the_checks_are_named(world: World) -> None:
    """By the check that differs; of the suite's, by the expectation."""
    lineage, store = world.lineage("v2"), world.registry.store
    found = world.again("v2")
    compared = {one.subject: one.compared for one in found.comparisons}
    assert {"validation of the data", "expectations of the data", "validation in the lineage"} <= set(compared)
    kept = json.loads(store.read(lineage["validation"]["uri"]))
    (missing,) = [check for check in kept["checks"] if (check["check"], check["column"]) == ("missing", "x")]
    assert 0.0 < missing["value"] < 0.1
    value, missing["value"] = missing["value"], 0.0
    other = store.put_bytes(json.dumps(kept).encode(), ".json").uri
    suite = json.loads(store.read(lineage["validation"]["expectations_uri"]))
    suite["results"][1]["success"] = False
    others = store.put_bytes(json.dumps(suite).encode(), ".json").uri
    changed = {**lineage["validation"], "uri": other, "expectations_uri": others, "verdict": "fail"}
    world.change("v2", lineage=json.dumps({**lineage, "validation": changed}))
    found = world.again("v2")
    by_subject = {one.subject: one.differences for one in found.comparisons if not one.equal}
    assert set(by_subject) == {"validation of the data", "expectations of the data", "validation in the lineage"}
    (difference,) = by_subject["validation of the data"]
    assert (difference.where, difference.recorded, difference.found) == ("checks.missing of x.value", 0.0, value)
    (difference,) = by_subject["expectations of the data"]
    assert difference.where == "results.expect_column_mean_to_be_between of x.success"
    (difference,) = by_subject["validation in the lineage"]
    assert (difference.where, difference.recorded) == ("verdict", "fail")


def test_a_damaged_result_of_the_checks_is_named(world: World) -> None:
    path = world.registry.store.path(world.lineage("v2")["validation"]["uri"])
    path.write_bytes(b"{}")
    assert differing(world.again("v2")) == {"validation of the data"}
    path.unlink()
    assert differing(world.again("v2")) == {"validation of the data"}


def test_a_manifest_of_an_earlier_release_is_compared_as_it_was_written(world: World) -> None:
    lineage = world.lineage("v2")
    manifest = json.loads(world.registry.store.read(lineage["dataset"]["manifest_uri"]))
    assert set(manifest["query"]) == {"model", "from_ms", "to_ms", "code_version"}
    manifest["query"]["candidate"] = ""  # as earlier releases wrote it
    kept = world.registry.store.put_bytes(json.dumps(manifest).encode(), ".json")
    for said, equal in (("", True), ("everything", False)):
        query = {**manifest["query"], "candidate": said}
        dataset = {**lineage["dataset"], "manifest_uri": kept.uri, "query": query}
        world.change("v2", lineage=json.dumps({**lineage, "dataset": dataset}))
        assert differing(world.again("v2")) == (set() if equal else {"stored manifest"})


def test_without_kept_results_a_note_says_that_none_are_compared(world: World) -> None:
    lineage = world.lineage("v2")
    del lineage["validation"]
    world.change("v2", lineage=json.dumps(lineage))
    found = world.again("v2")
    assert found.equal, differing(found)
    assert any("validation" in note for note in found.notes)


def test_an_older_lineage_does_where_everything_follows_and_else_says_what_is_missing(world: World) -> None:
    new = ("spec", "judging_seed", "lock", "code_commit", "environment", "source")
    for version in ("v1", "v2"):
        lineage = {key: value for key, value in world.lineage(version).items() if key not in new}
        if version == "v1":
            del lineage["compared_with"]
        world.change(version, lineage=json.dumps(lineage))
    found = world.again("v2")
    assert found.equal, differing(found)
    assert {part.recorded for part in found.environment} == {"unknown"}
    assert world.again("v1", today={"m": make_spec()}).equal
    with pytest.raises(CannotReproduce, match=r"missing: the spec that it was trained with \(spec\)"):
        world.again("v2", today={"m": make_spec()})
    bare = {"model_digest": "0" * 64, "dataset": {}}
    world.change("v2", lineage=json.dumps(bare))
    with pytest.raises(CannotReproduce) as caught:
        world.again("v2", today={})
    for part in ("(spec)", "(judging_seed)", "(compared_with)", "its data set"):
        assert part in str(caught.value)


def test_a_version_from_before_learned_rows_were_left_out_is_judged_as_it_was(world: World) -> None:
    """v3 comes right after v2 has learned most of its holdout; v2's own gates knew no such rows."""
    frame, labels, times = make_rows(rows=410)
    world.topic = Topic(make_labeled(SPEC, frame, labels, times + 10**9))
    spec = msgspec.structs.replace(SPEC, training=msgspec.structs.replace(SPEC.training, compare_on_learned=True))
    ended = CommandRunner(
        {"m": spec},
        world.registry,
        world.topic,
        labeled_topic="t.labeled",
        folder=world.folder / "trainer",  # type: ignore[arg-type]
    ).run(msgspec.structs.replace(COMMAND, command_id="e" * 32))
    assert ended.version == "v3"
    row = world.registry.version("m", "v3")
    assert row is not None
    assert any("were in the champion's training data" in gate.sentence for gate in row.gates)
    lineage = world.lineage("v3")
    kept = json.loads(lineage["spec"])
    del kept["training"]["compare_on_learned"]
    world.change("v3", lineage=json.dumps({**lineage, "spec": json.dumps(kept)}))
    gates = next(part for part in world.again("v3").comparisons if part.subject == "gates")
    assert gates.differences == []
    # By today's rule it would be another report.
    world.change(
        "v3",
        lineage=json.dumps(
            {**lineage, "spec": json.dumps({**kept, "training": {**kept["training"], "compare_on_learned": False}})}
        ),
    )
    gates = next(part for part in world.again("v3").comparisons if part.subject == "gates")
    assert gates.count > 0


def test_nothing_was_trained_for_a_version_registered_by_hand(world: World) -> None:
    lineage = {"source": "driftloop models register", "reference_rows": 3}
    world.registry.register_version(NewVersion(model_id="m", version="mine", lineage=lineage))
    with pytest.raises(CannotReproduce, match="nothing was trained here"):
        world.again("mine")


def test_without_the_champions_file_it_is_not_tried(world: World) -> None:
    champion, version = world.registry.version("m", "v1"), world.registry.version("m", "v2")
    assert champion is not None
    assert champion.artifact is not None
    assert version is not None
    (world.folder / "artifacts" / champion.artifact.uri).unlink()
    with pytest.raises(CannotReproduce, match="the model file of v1 that it was compared with"):
        reproduce(world.registry, version, {}, folder=world.folder / "never")


def test_nothing_is_written(world: World) -> None:
    before = sorted(path for path in (world.folder / "artifacts").rglob("*"))
    rows = world.registry.history("m")
    world.again("v2")
    assert sorted(path for path in (world.folder / "artifacts").rglob("*")) == before
    assert world.registry.history("m") == rows


def test_the_command_tells_by_its_exit_code(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(world.folder))
    monkeypatch.setenv("DRIFTLOOP_SPECS", str(world.folder / "none"))
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:1")
    app = Typer()
    app.command()(command)
    found = CliRunner().invoke(app, ["m", "v1"])
    assert found.exit_code == 0, found.output
    assert "everything is equal" in found.output
    world.change("v1", metrics="{}")
    found = CliRunner().invoke(app, ["m", "v1", "--json"])
    assert found.exit_code == 1
    content = json.loads(found.stdout)
    assert not content["equal"]
    assert [one["subject"] for one in content["comparisons"] if not one["equal"]] == ["metrics"]
    for arguments, words in ((["m", "v9"], "has no version"), (["m", "v1", "--from-log"], "never were on a topic")):
        found = CliRunner().invoke(app, arguments)
        assert found.exit_code == 2
        assert words in found.output


def test_differences_see_bits_order_and_absence() -> None:
    assert differences({"a": 0.0}, {"a": -0.0})
    assert not differences({"a": float("nan"), "b": 1}, {"b": 1, "a": float("nan")})
    assert differences({"a": True}, {"a": 1})
    (found,) = differences({"a": [1, 2]}, {"a": [1]})
    assert (found.where, found.found) == ("a.1", ABSENT)


def test_the_commit_is_what_the_image_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DRIFTLOOP_COMMIT=abc012\n")
    assert code_commit() == "abc012"
    monkeypatch.setenv("DRIFTLOOP_COMMIT", "abc123")
    assert code_commit() == "abc123"
