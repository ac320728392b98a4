"""The training worker as a process of its own, against the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from driftloop.events.decisions import ModelEvent, RetrainCommand
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.dead_letters import origin_of
from driftloop.kafka.embedded import EmbeddedBroker
from driftloop.kafka.log_reader import Record, read_topic
from driftloop.kafka.producer import Producer
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import create_schema, open_engine
from driftloop.registry.models import Registry
from driftloop.registry.runs import RunStore
from driftloop.settings import Settings
from driftloop.spec.model import ModelSpec
from driftloop.training.artifacts import load
from driftloop.training.bootstrap import register_first_version
from driftloop.training.dataset import TrainingSet, cut
from driftloop.training.estimators import predict
from support.training_rows import make_labeled, make_rows, make_spec
from support.world import Process, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]

AT = 10**9


def command(name: str, model: str = "m", rows_to_ms: int = 10**10) -> RetrainCommand:
    return RetrainCommand(
        command_id=name * 32,
        model_id=model,
        champion_version="v1",
        trigger="performance",
        reason="roc_auc fell",
        window_end_ms=10**10,
        from_ms=0,
        to_ms=rows_to_ms,
    )


class World:
    """Topics, a stale first champion of every spec, and labeled rows in which the relation has turned round."""

    def __init__(self, settings: Settings, specs: list[ModelSpec], folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        settings.specs.mkdir(parents=True)
        create_topics(settings)
        self.engine = open_engine(settings.resolved_database_url)
        create_schema(self.engine)
        self.registry = Registry(self.engine, ArtifactStore(settings.resolved_artifacts))
        self.runs = RunStore(self.engine)
        self.producer = Producer(client_config(settings))
        self.started: list[Process] = []
        frame, labels, times = make_rows()
        for spec in specs:
            # JSON is YAML.
            (settings.specs / f"{spec.model}.yaml").write_bytes(msgspec.json.encode(spec))
            register_first_version(self.registry, spec, *make_rows(seed=1, sign=-1.0), 100)
            for row in make_labeled(spec, frame, labels, times + AT, prefix=spec.model):
                self.producer.produce(settings.topics.labeled, msgspec.json.encode(row), row.prediction_id.encode())
        self.producer.flush()

    def send(self, *values: RetrainCommand | bytes) -> None:
        for value in values:
            body = value if isinstance(value, bytes) else msgspec.json.encode(value)
            key = b"m" if isinstance(value, bytes) else value.model_id.encode()
            self.producer.produce(self.settings.topics.retrain_commands, body, key)
        self.producer.flush()

    def trainer(self, name: str = "trainer") -> Process:
        process = Process(self.settings, "trainer", "--lease-seconds", "3", log=self.folder / f"{name}.log", life_s=150)
        self.started.append(process)
        return process

    def finished(self, name: str) -> bool:
        run = self.runs.get(name * 32)
        return run is not None and run.outcome is not None

    def read(self, topic: str) -> list[Record]:
        return [record for batch in read_topic(client_config(self.settings), topic) for record in batch]

    def events(self, name: str) -> list[ModelEvent]:
        """The published events of one command, each once, in order."""
        events = {}
        for record in self.read(self.settings.topics.model_events):
            event = msgspec.json.decode(record.value or b"", type=ModelEvent)
            if event.command_id == name * 32:
                events[event.event_id] = event
        return list(events.values())

    def training_children(self) -> list[int]:
        """Process ids of children that train for this world."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._trains(entry)]

    def _trains(self, entry: Path) -> bool:
        try:
            if b"driftloop.training.child" not in (entry / "cmdline").read_bytes():
                return False
            return self.settings.topic_prefix.encode() in (entry / "environ").read_bytes()
        except OSError:
            return False

    def close(self) -> None:
        for process in self.started:
            if process.process.poll() is None:
                process.kill()
        self.engine.dispose()


@pytest.fixture
def make_world(embedded_broker: EmbeddedBroker, settings_for, tmp_path: Path) -> Iterator:  # type: ignore[type-arg,no-untyped-def]
    worlds: list[World] = []

    def make(*specs: ModelSpec) -> World:
        settings = settings_for(embedded_broker, specs=tmp_path / "models")
        worlds.append(World(settings, list(specs), tmp_path))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_commands_become_versions_failures_and_dead_letters(make_world) -> None:  # type: ignore[no-untyped-def]
    spec, other = make_spec(), make_spec("regression", model="other")
    world = make_world(spec, other)
    poison = [b"{not json", b'{"command_id": "\xff"}', b'{"a":' * 5_000]
    world.send(*poison, command("a"), command("b", "other"), command("c", rows_to_ms=AT + 1), command("a"))
    trainer = world.trainer()
    for name in "abc":
        wait_for(f"command {name}", lambda name=name: world.finished(name), trainer)
    wait_for("the failure's event", lambda: len(world.events("c")) == 1, trainer)

    assert [event.kind for event in world.events("a")] == ["registered", "promoted"]
    promoted = world.events("a")[-1]
    assert (promoted.model_version, promoted.previous_version) == ("v2", "v1")
    assert [gate.passed for gate in promoted.gates] == [True, True, True]
    frame, _, _ = make_rows()
    version = world.registry.champion("m")
    data = TrainingSet.from_parquet(spec, world.registry.store.read(version.lineage["dataset"]["uri"]))
    assert len(data) == 400
    assert sum(source["end"] for source in version.lineage["dataset"]["sources"]) == 800  # of both models
    assert len(predict(load(world.registry.store.read(promoted.artifact)), spec, frame)) == 400

    assert [event.kind for event in world.events("b")] == ["registered", "promoted"]
    failed = world.events("c")[0]
    assert failed.kind == "failed"
    assert "only 1 labeled rows" in failed.reason

    wait_for("the dead letters", lambda: len(world.read(world.settings.topics.dead_letters)) == 3, trainer)
    letter = world.read(world.settings.topics.dead_letters)[0]
    assert {record.value for record in world.read(world.settings.topics.dead_letters)} == set(poison)
    origin = origin_of(letter.headers)
    assert origin is not None
    assert (origin.topic, origin.code) == (world.settings.topics.retrain_commands, "malformed_command")

    assert trainer.stop() == 0, trainer.text()
    wait_for("the waiting child's end", lambda: not world.training_children())
    # Everything was committed: a new trainer has nothing to do but the new command.
    world.send(command("d"))
    again = world.trainer("again")
    wait_for("command d", lambda: world.finished("d"), again)
    assert [run.attempts for run in world.runs.runs()] == [1, 1, 1, 1]
    assert len(world.read(world.settings.topics.dead_letters)) == 3
    assert again.stop() == 0, again.text()


def test_files_that_stay_in_trouble_fail_one_run_and_hold_up_no_other(make_world) -> None:  # type: ignore[no-untyped-def]
    """Before, the trainer ended at the first command, and again at every start, with the other one behind it."""
    spec, other = make_spec(), make_spec("regression", model="other")
    world = make_world(spec, other)
    world.settings = world.settings.model_copy(update={"file_tries": 3, "file_retry_ms": 1_500})
    frame, labels, times = make_rows()
    rows = make_labeled(spec, frame, labels, times + AT, prefix="m")
    parquet = cut(rows, spec, 0, 10**10, []).to_parquet()
    # A folder, and something in it, where the file of its rows should be.
    taken = world.registry.store.folder / ArtifactStore(world.folder / "copy").put_bytes(parquet, ".parquet").uri
    taken.mkdir(parents=True)
    (taken / "something").touch()
    world.send(command("a"), command("b", "other"))
    trainer = world.trainer()
    wait_for("the other model's command", lambda: world.finished("b"), trainer)
    run = world.runs.get("a" * 32)
    assert run is not None
    assert (run.outcome, run.attempts) == (None, 0)
    assert run.tries in (1, 2)
    trainer.kill()  # what is left is in the database
    again = world.trainer("again")
    wait_for("the end of the first", lambda: world.finished("a"), again)
    wait_for("its event", lambda: len(world.events("a")) == 1, again)
    event = world.events("a")[0]
    assert event.kind == "failed"
    assert event.reason.startswith(
        "its files could not be read or written in 3 tries, the last time: IsADirectoryError"
    )
    assert str(taken) in event.reason
    assert [event.kind for event in world.events("b")] == ["registered", "promoted"]
    assert again.stop() == 0, again.text()


def test_killed_in_the_middle_one_command_still_gives_one_version(make_world) -> None:  # type: ignore[no-untyped-def]
    spec = make_spec(
        estimator="sklearn.ensemble.GradientBoostingClassifier", training={"parameters": {"n_estimators": 1000}}
    )
    world = make_world(spec)
    world.send(command("a"))
    killed = world.trainer()
    jobs = world.settings.data_dir / "trainer"
    wait_for("the training", lambda: any(jobs.glob("*/job.json")), killed)
    children = world.training_children()
    assert children
    killed.kill()
    wait_for("the child's end", lambda: not world.training_children(), timeout_s=30)
    run = world.runs.get("a" * 32)
    assert run is not None
    assert run.outcome is None
    assert len(world.registry.versions("m")) == 1

    two = [world.trainer("first"), world.trainer("second")]
    wait_for("command a", lambda: world.finished("a"), two[0])
    wait_for("the events", lambda: len(world.events("a")) == 2, two[1])
    assert [event.kind for event in world.events("a")] == ["registered", "promoted"]
    assert [version.version for version in world.registry.versions("m")] == ["v1", "v2"]
    run = world.runs.get("a" * 32)
    assert run is not None
    assert (run.outcome, run.version, run.attempts) == ("promoted", "v2", 2)
    assert [process.stop() for process in two] == [0, 0]
    assert not any(jobs.iterdir())


def test_asked_to_end_during_a_training_it_ends_and_leaves_the_command(make_world) -> None:  # type: ignore[no-untyped-def]
    spec = make_spec(
        estimator="sklearn.ensemble.GradientBoostingClassifier", training={"parameters": {"n_estimators": 200_000}}
    )
    world = make_world(make_spec())
    (world.settings.specs / "m.yaml").write_bytes(msgspec.json.encode(spec))
    world.send(command("a"))
    first = world.trainer()
    jobs = world.settings.data_dir / "trainer"
    wait_for("the training", lambda: any(jobs.glob("*/job.json")), first)
    assert first.stop(timeout_s=20) == 0, first.text()
    assert not world.training_children()
    (world.settings.specs / "m.yaml").write_bytes(msgspec.json.encode(make_spec()))
    second = world.trainer("second")
    wait_for("command a", lambda: world.finished("a"), second)
    wait_for("the events", lambda: len(world.events("a")) == 2, second)
    assert [event.kind for event in world.events("a")] == ["registered", "promoted"]
    assert second.stop() == 0, second.text()


def test_it_says_what_is_missing(make_world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    world = make_world(make_spec())
    lost = world.settings.model_copy(update={"topic_prefix": world.settings.topic_prefix + "x"})
    process = Process(lost, "trainer", log=tmp_path / "lost.log", life_s=60)
    assert process.process.wait(60) == 1
    assert "driftloop topics create" in process.text()
