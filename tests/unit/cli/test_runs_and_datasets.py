"""``driftloop runs`` and ``driftloop datasets`` on what the trainer's runner left: one run that passes, one that does
not."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from driftloop.cli import runs as runs_module
from driftloop.cli.datasets import app as datasets_app
from driftloop.cli.models import app as models_app
from driftloop.cli.runs import app as runs_app
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Labeled
from driftloop.registry import ArtifactStore, Registry, Run, RunEntry, RunStore, create_schema, open_engine, run_follow
from driftloop.spec.validation import Bounds, ValidationSpec
from driftloop.training import child, progress
from driftloop.training.bootstrap import register_first_version
from driftloop.training.child import TrainingProcesses
from driftloop.training.child_work import work_in
from driftloop.training.dataset import OffsetRange
from driftloop.training.run import CommandRunner
from driftloop.training.run_recorder import RunRecorder
from support.training_rows import make_labeled, make_rows, make_spec

GOOD, BAD = "a" * 32, "b" * 32


class FixedLog:
    def __init__(self, rows: list[Labeled]) -> None:
        self._rows = rows

    def rows(self, model_id: str, from_ms: int, to_ms: int, **more: object) -> tuple[list[Labeled], list[OffsetRange]]:
        return self._rows, [OffsetRange(partition=0, first=0, end=len(self._rows))]


def command(name: str) -> RetrainCommand:
    return RetrainCommand(
        command_id=name, model_id="m", champion_version="v1", trigger="performance", reason="roc_auc fell",
        window_end_ms=10**10, from_ms=0, to_ms=10**10,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The child's work is done in this process; the process has tests of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(TrainingProcesses, "take", lambda self: None)
    monkeypatch.setattr(child, "_run", lambda process, folder, *more: work_in(folder))
    return tmp_path


def opened(folder: Path) -> tuple[Registry, RunStore]:
    from driftloop.settings import Settings

    settings = Settings()
    engine = open_engine(settings.resolved_database_url)
    create_schema(engine)
    return Registry(engine, ArtifactStore(settings.resolved_artifacts)), RunStore(engine)


def run(folder: Path, name: str, *, spoil: bool) -> None:
    """As the worker does it: lease, listen, run, finish."""
    registry, runs = opened(folder)
    suite = {
        "name": "s",
        "expectations": [
            {"type": "expect_column_values_to_be_in_set",
             "kwargs": {"column": "colour", "value_set": ["red", "green", "blue"]}},
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}, "severity": "warning"},
        ],
    }  # fmt: skip
    rules = ValidationSpec(new_categories=Bounds(warn=0.1, fail=0.3))
    spec = make_spec(training={"validation": rules, "expectations": suite, "dvc": True})
    if registry.champion("m") is None:
        register_first_version(registry, make_spec(), *make_rows(seed=1, sign=-1.0), 100)
    frame, labels, times = make_rows()
    if spoil:
        frame.loc[:200, "colour"] = "pink"
    rows = make_labeled(spec, frame, labels, times + 10**9)
    runner = CommandRunner(
        {"m": spec},
        registry,
        FixedLog(rows),
        labeled_topic="t.labeled",
        folder=folder / "trainer",  # type: ignore[arg-type]
    )
    now = time.time()
    runs.lease(command(name), "trainer-1", 60, now)
    recorder = RunRecorder(runs, name, 1)
    with progress.listening(recorder):
        ended = runner.run(command(name))
    recorder.close()
    runs.finish(name, ended.outcome, ended.version, ended.reason, time.time())


def invoke(app: Any, *arguments: str, code: int = 0, columns: int = 200) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output
    return result.output


def test_a_run_that_passes_and_one_that_fails_validation(folder: Path) -> None:
    run(folder, BAD, spoil=True)
    registry, runs = opened(folder)
    assert [version.version for version in registry.versions("m")] == ["v1"]  # a failed check leads to no version
    failed = runs.get(BAD)
    assert failed is not None
    assert failed.outcome == "failed"
    assert failed.reason.startswith("the data does not pass validation: new_categories: 50.")
    assert "pink" in failed.reason
    run(folder, GOOD, spoil=False)

    listed = json.loads(invoke(runs_app, "list", "--model", "m", "--json"))
    assert [(row["run"], row["outcome"]) for row in listed] == [(GOOD, "promoted"), (BAD, "failed")]
    assert all(row["seconds"] is not None for row in listed)
    assert "does not pass validation" in invoke(runs_app, "list")
    assert invoke(runs_app, "list", "--model", "other") == "no training of other has run yet\n"

    shown = invoke(runs_app, "show", "aaaa")
    for phase in (
        "cutting the data of",
        "validating the data",
        "fitting on 320 rows",
        "registering",
        "deciding about v2",
    ):
        assert phase in shown
    assert "warn: expect_column_values_to_not_be_null" in shown
    assert "promoted as v2" in shown
    assert "fail: new_categories" in invoke(runs_app, "show", BAD)
    as_json = json.loads(invoke(runs_app, "show", BAD, "--json"))
    assert sorted(as_json["files"]) == ["dataset", "expectations", "manifest", "validation"]
    assert [entry["text"] for entry in as_json["log"] if entry["kind"] == "phase"][-1] == "validating the data"

    models = " ".join(invoke(models_app, "show", "m").split())
    assert "v2 validation warn: " in models
    assert "expect_column_values_to_not_be_null(column='x') is not met: " in models
    lineage = registry.versions("m")[1].lineage
    result = json.loads(registry.store.read(lineage["validation"]["expectations_uri"]))
    assert result["statistics"]["successful_expectations"] == 1

    sets = json.loads(invoke(datasets_app, "list", "--json"))
    by_versions = {tuple(row["versions"]): row for row in sets}
    assert by_versions[("v2",)]["verdict"] == "warn"
    assert by_versions[()]["verdict"] == "fail"
    assert by_versions[()]["runs"] == [BAD]
    assert "1 run(s) without a version" in invoke(datasets_app, "list", "m")
    one = json.loads(invoke(datasets_app, "show", by_versions[("v2",)]["sha256"][:10], "--json"))
    assert one["manifest"]["rows"] == 400
    assert one["dvc"].endswith(".parquet.dvc")
    assert (registry.store.folder / one["dvc"]).exists()
    text = invoke(datasets_app, "show", by_versions[("v2",)]["sha256"])
    for part in ("topic: t.labeled, offsets by partition 0: 0 to 400", "query: model m", "colour", "validation: warn"):
        assert part in text
    assert "data set" in invoke(datasets_app, "show", "m")
    digest = by_versions[("v2",)]["sha256"]
    for columns in (80, 100):
        for app, command, whole in (
            (runs_app, ("list",), [GOOD[:12], BAD[:12], "promoted", "failed"]),
            (models_app, ("list",), ["binary", "v2"]),
            (models_app, ("show", "m"), ["metric:roc_auc", "average_precision", "promoted"]),
            (datasets_app, ("list",), [digest[:12], "400"]),
            (datasets_app, ("show", digest), [digest, "colour", "median", f"{digest[:2]}/{digest}.parquet"]),
        ):
            lines = invoke(app, *command, columns=columns).splitlines()
            # A digest with its folder and suffix is not broken, so that it can be copied.
            assert [line for line in lines if len(line.rstrip()) > columns and " " in line.strip()] == []
            words = {word for line in lines for word in line.split()}
            assert set(whole) <= words, (command, columns)
            assert not any("…" in line for line in lines)
    assert "there is no data set or model 'zz'" in invoke(datasets_app, "show", "zz", code=1)


def test_a_run_is_followed_until_it_ends(folder: Path) -> None:
    _, runs = opened(folder)
    runs.lease(command(GOOD), "trainer-1", 60, time.time())
    runs.log.add(GOOD, [RunEntry(attempt=1, kind="phase", at=time.time(), text="cutting")])

    def work() -> None:
        time.sleep(0.3)
        runs.log.add(GOOD, [RunEntry(attempt=1, kind="line", at=time.time(), text="\x1b[2J5 rows")])
        runs.finish(GOOD, "failed", None, "too few rows", time.time())

    worker = threading.Thread(target=work)
    worker.start()
    shown = invoke(runs_app, "show", GOOD, "--follow", code=1)
    worker.join(30)
    assert "running: attempt 1 by trainer-1" in shown
    assert "\ufffd[2J5 rows" in shown  # what a library writes must not clear the reader's screen
    assert shown.rstrip().endswith("ended: failed: too few rows")
    lines = [json.loads(line) for line in invoke(runs_app, "show", GOOD, "-f", "--json", code=1).splitlines()]
    assert [line.get("kind") for line in lines] == ["phase", "line", "state", None]
    assert lines[-1]["reason"] == "too few rows"


def test_a_follower_outlasts_a_database_that_is_away_for_a_moment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runs = opened(folder)
    runs.lease(command(GOOD), "trainer-1", 60, time.time())
    runs.log.add(GOOD, [RunEntry(attempt=1, kind="line", at=time.time(), text="5 rows")])
    asked, get = [0], RunStore.get

    def away(self: RunStore, command_id: str) -> Run | None:
        asked[0] += 1
        if asked[0] in (2, 3):
            raise OperationalError("SELECT", {}, ConnectionError("server closed the connection"))
        if asked[0] == 4:
            runs.finish(GOOD, "promoted", "v2", "better", time.time())  # the follower cannot write
        return get(self, command_id)

    monkeypatch.setattr(RunStore, "get", away)
    monkeypatch.setattr(run_follow, "_AGAIN_S", 0.01)
    result = CliRunner().invoke(runs_app, ["show", GOOD, "--follow"])
    assert result.exit_code == 0, result.output
    assert result.stderr.count("the database does not answer") == 1
    assert "server closed the connection" in result.stderr
    assert "the database answers again" in result.stderr
    assert result.stdout.count("5 rows") == 1
    assert result.stdout.rstrip().endswith("ended: promoted as v2: better")


def test_a_run_whose_end_cannot_be_told_has_not_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, runs = opened(folder)
    runs.lease(command(GOOD), "trainer-1", 60, time.time())
    assert "there is no run 'x'" in invoke(runs_app, "show", "x", "--follow", code=3)

    def away(self: RunStore, command_id: str) -> None:
        raise OperationalError("SELECT", {}, ConnectionError("no route to host"))

    monkeypatch.setattr(RunStore, "get", away)
    monkeypatch.setattr(run_follow, "_AGAIN_S", 0.01)
    monkeypatch.setattr(runs_module, "follow", partial(run_follow.follow, patience_s=0.05))
    shown = invoke(runs_app, "show", GOOD, "--follow", code=3)
    assert "the database did not answer (no route to host)" in shown


def test_a_run_whose_trainer_died_says_so(folder: Path) -> None:
    _, runs = opened(folder)
    runs.lease(command(GOOD), "trainer-1", 1, time.time() - 60)
    assert "its trainer trainer-1 has died or stopped" in invoke(runs_app, "show", GOOD)
    assert json.loads(invoke(runs_app, "list", "--json"))[0]["state"] == "abandoned"


def test_names_that_fit_no_run_or_several(folder: Path) -> None:
    _, runs = opened(folder)
    for name in ("ab1", "ab2"):
        runs.lease(command(name), "trainer-1", 1, time.time())
    assert "there is no run 'x'" in invoke(runs_app, "show", "x", code=1)
    assert "several runs begin with 'ab': ab1, ab2" in invoke(runs_app, "show", "ab", code=1)
    assert "run ab1 of m" in invoke(runs_app, "show", "ab1")


def test_a_registry_without_runs(folder: Path) -> None:
    opened(folder)
    assert invoke(runs_app, "list") == "no training has run yet\n"
    assert invoke(datasets_app, "list") == "there is no data set yet\n"
    assert msgspec.json.decode(invoke(datasets_app, "list", "--json")) == []
