"""A command from the topic to the decision, the training in between being done elsewhere."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sqlalchemy import select

from driftloop.events.decisions import RetrainCommand
from driftloop.registry import ArtifactStore, Registry, RunStore, create_schema, open_engine
from driftloop.registry.database import reading
from driftloop.registry.handovers import HandoverStore
from driftloop.registry.references import mentioned
from driftloop.registry.run_follow import state_of
from driftloop.registry.tables import outbox
from driftloop.settings import Settings
from driftloop.spec.handover import HandoverSpec
from driftloop.spec.model import ModelSpec
from driftloop.training import child
from driftloop.training.bootstrap import register_first_version
from driftloop.training.child import TrainingProcesses
from driftloop.training.child_work import work_in
from driftloop.training.dataset import OffsetRange, TrainingSet
from driftloop.training.estimators import fit
from driftloop.training.file_trouble import SharedFiles, Tries
from driftloop.training.handover.credentials import Keyring
from driftloop.training.handover.dispatch import Dispatcher
from driftloop.training.handover.messages import Artifact, Result
from driftloop.training.handover.results import take_result
from driftloop.training.handover.step import Handing
from driftloop.training.putting_off import PuttingOff
from driftloop.training.reproduction import CannotReproduce, reproduce
from driftloop.training.run import CommandRunner
from driftloop.training.worker import Trainer
from support.fake_airflow import FakeAirflow
from support.training_rows import make_labeled, make_rows, make_spec

COMMAND = RetrainCommand(
    command_id="c" * 64,
    model_id="m",
    champion_version="v1",
    trigger="performance",
    reason="roc_auc fell",
    window_end_ms=10**10,
    from_ms=0,
    to_ms=10**10,
)
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Rows:
    """Stands for the labeled topic."""

    def __init__(self) -> None:
        frame, labels, times = make_rows()
        self.found = make_labeled(make_spec(), frame, labels, times + 10**9)
        self.reads = 0

    def rows(self, *args: object, **more: object) -> tuple[list[Any], list[OffsetRange]]:
        self.reads += 1
        return self.found, [OffsetRange(partition=0, first=0, end=len(self.found))]


class World:
    """A trainer without Kafka: :meth:`take` does what it does with one copy of the command."""

    def __init__(self, folder: Path, airflow: FakeAirflow, processes: TrainingProcesses) -> None:
        self.now = 1_000_000.0
        self.engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
        create_schema(self.engine)
        self.files = ArtifactStore(folder / "artifacts")
        self.registry = Registry(self.engine, self.files)
        self.runs, self.store = RunStore(self.engine), HandoverStore(self.engine)
        self.airflow, self.processes, self.folder, self.rows = airflow, processes, folder, Rows()
        self.settings = Settings(_env_file=None, handover_token=airflow.token, handover_key=KEY)  # type: ignore[call-arg,arg-type]
        register_first_version(self.registry, make_spec(), *make_rows(seed=1, sign=-1.0), 100)

    def spec(self, **more: Any) -> ModelSpec:
        to = {"to": "airflow", "url": self.airflow.url, "dag_id": "train_m", "parameters": {"trees": 100}}
        return make_spec(training={"handover": HandoverSpec(**{**to, **more})})

    def take(self, spec: ModelSpec) -> None:
        handing = Handing(
            self.store,
            Keyring(self.settings),
            self.files,
            "https://driftloop.example.com/",
            self.processes,
            clock=lambda: self.now,
        )
        runner = CommandRunner(
            {"m": spec}, self.registry, self.rows, labeled_topic="t.labeled",  # type: ignore[arg-type]
            folder=self.folder / "trainer", processes=self.processes, handing=handing,
        )  # fmt: skip
        nothing: Any = None
        stopping = threading.Event()
        Trainer(
            {}, group="g", commands_topic="c", dead_letters_topic="d", runs=self.runs, relay=nothing, runner=runner,
            stopping=stopping, producer=nothing, owner="trainer-1",
            putting_off=PuttingOff(self.runs, SharedFiles(self.files, self.folder / "trainer"), Tries(), stopping),
        )._carry_out(COMMAND)  # fmt: skip

    def dispatcher(self, **more: Any) -> Dispatcher:
        return Dispatcher(self.store, self.runs, Keyring(self.settings), clock=lambda: self.now, **more)

    def commands(self) -> list[bytes]:
        with reading(self.engine) as connection:
            rows = connection.execute(select(outbox).where(outbox.c.topic == "retrain-commands"))
            return [bytes(row.value) for row in rows]

    def run(self) -> tuple[str | None, str | None, str]:
        run = self.runs.get(COMMAND.command_id)
        assert run is not None
        return run.outcome, run.version, run.reason

    def told(self) -> str:
        run = self.runs.get(COMMAND.command_id)
        assert run is not None
        state = state_of(run, self.now)
        return f"{state.state}: {state.sentence}"

    def lines(self) -> list[str]:
        return [entry.text for entry in self.runs.log.entries(COMMAND.command_id)]

    def conf(self) -> dict[str, Any]:
        return self.airflow.runs[("train_m", COMMAND.command_id)]["conf"]  # type: ignore[no-any-return]

    def report(self, content: bytes | None, reason: str = "") -> str:
        artifact = None if content is None else Artifact(sha256=hashlib.sha256(content).hexdigest(), content=content)
        status = "failed" if content is None else "succeeded"
        result = Result(command_id=COMMAND.command_id, status=status, artifact=artifact, reason=reason)  # type: ignore[arg-type]
        return take_result(self.store, self.runs, self.files, result, self.now)

    def given(self) -> TrainingSet:
        """The rows as the foreign trainer reads them."""
        return TrainingSet.from_parquet(make_spec(), self.files.read(self.conf()["data"]["dataset"]["uri"]))


@pytest.fixture(scope="module")
def processes() -> Iterator[TrainingProcesses]:
    with TrainingProcesses() as processes:
        yield processes


@pytest.fixture
def in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's work without a process, except in the test of the real one."""
    if "real_child" in request.node.name:
        return

    def work(process: object, folder: Path, *more: object) -> None:
        work_in(folder)

    monkeypatch.setattr(child, "_run", work)
    monkeypatch.setattr(TrainingProcesses, "take", lambda self: None)


@pytest.fixture
def world(tmp_path: Path, processes: TrainingProcesses, in_this_process: None) -> Iterator[World]:
    with FakeAirflow() as airflow:
        world = World(tmp_path, airflow, processes)
        yield world
        world.engine.dispose()


def handed_over(world: World, **more: Any) -> ModelSpec:
    spec = world.spec(**more)
    world.take(spec)
    world.dispatcher().turn()
    return spec


def trained_there(world: World, sign: float = 1.0) -> bytes:
    """What somebody makes of the file, with other means than driftloop's."""
    table = pq.read_table(io.BytesIO(world.files.read(world.conf()["data"]["dataset"]["uri"]))).to_pandas()
    numbers = ColumnTransformer([("x", "passthrough", ["noise"])]) if sign < 0 else None
    if numbers is not None:
        pipeline = Pipeline([("prepare", numbers), ("model", LogisticRegression())])
        pipeline.fit(table[["x", "colour", "noise"]], table["@label"])
    else:
        pipeline = fit(make_spec(), pd.DataFrame(table[["x", "colour", "noise"]]), table["@label"].to_numpy())
    return bytes(skops.io.dumps(pipeline))


def test_a_model_from_elsewhere_is_judged_in_a_real_child_and_promoted_like_an_own_one(world: World) -> None:
    spec = world.spec()
    world.take(spec)
    assert world.run()[0] is None
    assert world.told() == f"handed over: to be handed over to airflow at {world.airflow.url}, DAG train_m"
    world.dispatcher().turn()
    assert "without a result by 1970-01-12T19:46:40" in world.told()

    conf = world.conf()
    assert conf["type"] == "driftloop.training.requested"
    data = conf["data"]
    assert data["command"]["reason"] == "roc_auc fell"
    assert data["parameters"] == {"trees": 100}
    assert data["training"]["minimum_rows"] == 50
    assert data["features"] == {"x": "numeric", "colour": "categorical", "noise": "numeric"}
    assert data["report"]["url"] == f"https://driftloop.example.com/runs/{COMMAND.command_id}/result"
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.artifact is not None
    assert data["champion"] == {"version": "v1", "uri": champion.artifact.uri, "sha256": champion.artifact.sha256}
    # The holdout stays here: 320 of the 400 rows go, all of them earlier than the rest.
    assert (len(world.given()), data["dataset"]["rows"]) == (320, 320)
    assert world.given().ids.tolist() == [row.prediction_id for row in world.rows.found[:320]]

    content = trained_there(world)
    assert world.report(content) == "taken"
    assert world.commands() == [msgspec.json.encode(COMMAND)]
    assert world.report(content) == "same"
    assert world.commands() == [msgspec.json.encode(COMMAND)]
    world.take(spec)
    assert world.run()[:2] == ("promoted", "v2")
    assert world.rows.reads == 1, "judged on the kept data set, not on what the topic has by now"
    version = world.registry.champion("m")
    assert version is not None
    assert version.artifact is not None
    assert world.files.read(version.artifact) == content
    assert [gate.gate for gate in version.gates if not gate.passed] == []
    lineage = version.lineage
    assert lineage["handover"]["dataset"]["rows"] == 320
    assert lineage["estimator"] is None
    assert (lineage["dataset"]["rows"], lineage["train_rows"], lineage["holdout_rows"]) == (400, 320, 80)
    assert lineage["validation"]["verdict"] in ("pass", "warn")
    assert version.trained_to_ms == int(world.given().predicted_at_ms[-1]) + 1
    # A copy of the command, and of the result, change nothing any more.
    world.take(spec)
    assert world.report(content) == "same"
    assert world.run()[:2] == ("promoted", "v2")


def test_a_store_that_is_away_decides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = handed_over(world)
    world.report(trained_there(world))

    def away(*_: object) -> None:
        raise OSError("the bucket does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.files, "read", away)
        # It waits in there until the store answers.
        waiting = threading.Thread(target=world.take, args=(spec,))
        waiting.start()
        deadline = time.monotonic() + 30
        while "the bucket does not answer" not in world.told() and time.monotonic() < deadline:
            time.sleep(0.02)
        told = world.told()
    assert "no command can be carried out: the artifact store" in told
    waiting.join(30)
    run = world.runs.get(COMMAND.command_id)
    assert run is not None
    assert (run.outcome, run.tries) == (None, 0)
    while not world.runs.due(time.time()):
        time.sleep(0.02)
    world.take(spec)
    assert world.run()[:2] == ("promoted", "v2")


def test_a_model_from_elsewhere_is_judged_again_and_not_fitted(world: World, tmp_path: Path) -> None:
    spec = handed_over(world)
    world.report(trained_there(world))
    world.take(spec)
    version = world.registry.version("m", "v2")
    assert version is not None
    assert version.artifact is not None
    assert isinstance(version.lineage["judging_seed"], int)
    assert version.lineage["lock"]["packages"] > 0
    for name in ("again", "changed"):
        (tmp_path / name).mkdir()
    found = reproduce(world.registry, version, {}, folder=tmp_path / "again")
    assert found.equal, [one for one in found.comparisons if not one.equal]
    # Its data were validated before they went, against the champion of then.
    assert {"validation of the data", "validation in the lineage"} <= {one.subject for one in found.comparisons}
    assert found.notes == [
        f"the model was fitted elsewhere (by airflow at {world.airflow.url}, DAG train_m): its file is judged again, "
        "and not fitted again"
    ]
    worse = dataclasses.replace(version, metrics={**version.metrics, "roc_auc": 0.5})
    found = reproduce(world.registry, worse, {}, folder=tmp_path / "changed")
    assert [one.subject for one in found.comparisons if not one.equal] == ["metrics"]
    (tmp_path / "artifacts" / version.artifact.uri).unlink()
    with pytest.raises(CannotReproduce, match="its model file, which was fitted elsewhere"):
        reproduce(world.registry, version, {}, folder=tmp_path / "never")


def test_the_same_gates_refuse_a_worse_model(world: World) -> None:
    spec = handed_over(world)
    world.report(trained_there(world, sign=-1.0))
    # The champion is wrong about these rows; against a good one the model that only knows noise must lose.
    good = register_good_champion(world)
    world.take(spec)
    outcome, version, reason = world.run()
    assert (outcome, version) == ("rejected", "v3")
    assert reason.startswith("gate metric")
    champion = world.registry.champion("m")
    assert champion is not None
    assert champion.version == good


def register_good_champion(world: World) -> str:
    from driftloop.training.dataset import from_frame
    from driftloop.training.registration import register
    from driftloop.training.train import lineage_of, train

    spec = make_spec()
    frame, labels, times = make_rows(seed=7)
    data = from_frame(spec, frame, labels, times)
    trained = train(spec, data, None, seed=1)
    name = register(
        world.registry, spec, trained, lineage=lineage_of(spec, trained, {}), event_time_ms=1, reason="r", actor="a"
    )
    world.registry.promote("m", name, "better", 2, "a")
    return name


def test_a_failure_elsewhere_is_the_runs_failure(world: World) -> None:
    spec = handed_over(world)
    assert world.report(None, "the cluster is full") == "taken"
    world.take(spec)
    assert world.run() == (
        "failed",
        None,
        f"the training by airflow at {world.airflow.url}, DAG train_m failed: the cluster is full",
    )


@pytest.mark.parametrize("kind", ["pickle", "no pipeline", "other features"])
def test_what_cannot_be_judged_is_refused_with_its_reason(world: World, kind: str) -> None:
    import pickle

    spec = handed_over(world)
    if kind == "pickle":
        content, said = pickle.dumps({"a": 1}), "is not a skops archive"
    elif kind == "no pipeline":
        model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        content, said = bytes(skops.io.dumps(model)), "holds a LogisticRegression, expected a scikit-learn Pipeline"
    else:
        frame = pd.DataFrame({"other": [0.0, 1.0]})
        model = Pipeline([("model", LogisticRegression())]).fit(frame, [0, 1])
        content, said = bytes(skops.io.dumps(model)), "does not predict the holdout"
    world.report(content)
    world.take(spec)
    outcome, version, reason = world.run()
    assert (outcome, version) == ("failed", None)
    assert said in reason
    assert "skops.io.dump" in reason


def test_a_crash_after_sending_hands_over_again_with_the_same_id_and_bytes(world: World) -> None:
    class Crash(BaseException):
        pass

    world.take(world.spec())
    bodies: list[bytes] = []

    def send(url: str, body: bytes, headers: Any) -> Any:
        from driftloop.training.handover.transport import post

        bodies.append(body)
        post(url, body, headers)
        raise Crash

    with pytest.raises(Crash):
        world.dispatcher(send=send).turn()
    assert len(world.airflow.runs) == 1
    world.dispatcher().turn()
    assert world.airflow.posts == 1, "claimed for a while by who has died"
    # The command comes again too, since its offset was not committed: nothing is cut or begun anew.
    world.take(world.spec())
    assert world.rows.reads == 1
    world.now += 100
    world.dispatcher().turn()
    assert world.airflow.posts == 2
    assert len(world.airflow.runs) == 1
    assert world.conf() == json.loads(bodies[0])["conf"]
    assert "it had it already" in world.told()
    run = world.runs.get(COMMAND.command_id)
    assert run is not None
    assert run.attempts == 1


def test_an_orchestrator_that_is_away_is_tried_again_until_it_is_too_long(world: World) -> None:
    spec = world.spec(retry_for="10m")
    world.take(spec)
    began, times = world.now, []
    world.airflow.away = 10**6
    for _ in range(2_000):
        before = world.airflow.posts
        world.dispatcher().turn()
        if world.airflow.posts > before:
            times.append(world.now - began)
        world.now += 1.0
        if world.commands():
            break
    assert times[:8] == [0, 1, 3, 7, 15, 31, 63, 127]
    assert times[-1] == 600
    world.take(spec)
    outcome, _, reason = world.run()
    assert outcome == "failed"
    assert f"could not be handed over to airflow at {world.airflow.url}, DAG train_m in {len(times)} tries" in reason
    assert "503" in reason


def test_an_orchestrator_that_comes_back_gets_it(world: World) -> None:
    world.airflow.away = 2
    spec = handed_over(world)
    assert "try 1 failed" in world.told()
    world.now += 1
    world.dispatcher().turn()
    world.now += 2
    world.dispatcher().turn()
    assert len(world.airflow.runs) == 1
    assert "without a result by" in world.told()
    assert spec.training.handover is not None


def test_what_the_orchestrator_refuses_fails_the_run_at_once(world: World) -> None:
    spec = handed_over(world, dag_id="unknown")
    assert world.airflow.posts == 1
    world.take(spec)
    outcome, _, reason = world.run()
    assert outcome == "failed"
    assert "DAG unknown answered 404" in reason
    assert world.airflow.token not in reason


def test_without_credentials_nothing_is_cut_off_from_the_topic(world: World) -> None:
    world.settings = Settings(_env_file=None)  # type: ignore[call-arg]
    world.take(world.spec())
    outcome, _, reason = world.run()
    assert outcome == "failed"
    assert "DRIFTLOOP_HANDOVER_TOKEN" in reason
    assert world.airflow.posts == 0


def test_no_result_in_time_fails_and_a_late_one_is_told_and_refused(world: World) -> None:
    spec = handed_over(world, timeout="2h")
    content = trained_there(world)
    world.now += 7_199
    world.dispatcher().turn()
    assert world.commands() == []
    world.now += 1
    world.dispatcher().turn()
    assert world.report(content) == "ended"
    world.take(spec)
    assert world.run() == ("failed", None, "no result came within 2h (training.handover.timeout)")
    assert world.report(content) == "ended"
    assert world.report(None, "sorry") == "ended"
    late = [line for line in world.lines() if line.startswith("a result came that was not taken")]
    assert len(late) == 1, "the first says it; others cannot fill the log"
    assert "succeeded (model file" in late[0]
    assert world.registry.version_of_command(COMMAND.command_id) is None


def test_another_result_than_the_one_taken_is_refused(world: World) -> None:
    handed_over(world)
    assert world.report(None, "no memory") == "taken"
    assert world.report(None, "no disk") == "ended"
    assert world.report(trained_there(world)) == "ended"


def test_a_result_may_come_before_the_orchestrators_answer(world: World) -> None:
    spec = world.spec()
    world.take(spec)
    assert world.report(None, "quick") == "taken"
    world.dispatcher().turn()
    assert world.airflow.posts == 0
    world.take(spec)
    assert world.run()[0] == "failed"


def test_bad_data_are_not_handed_over(world: World) -> None:
    world.rows.found = world.rows.found[:20]
    world.take(world.spec())
    outcome, _, reason = world.run()
    assert outcome == "failed"
    assert "minimum_rows" in reason
    world.dispatcher().turn()
    assert world.airflow.posts == 0


def test_files_of_a_handover_are_no_garbage(world: World) -> None:
    handed_over(world)
    content = trained_there(world)
    world.report(content)
    uri = world.conf()["data"]["dataset"]["uri"]
    with reading(world.engine) as connection:
        kept = mentioned(connection, world.files)
    # The run names the one, nobody but the handover the other.
    assert uri[3:67] in kept
    assert hashlib.sha256(content).hexdigest() in kept
