"""``driftloop retrain`` and ``driftloop decisions`` on a database, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner, Result

from driftloop.cli.decisions import decisions
from driftloop.cli.retrain import retrain
from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.registry import AssessmentStore, create_schema, open_engine
from driftloop.registry.database import reading
from driftloop.registry.tables import outbox
from driftloop.spec import load_specs, spec_digest
from support.policy_story import DAY, outcome

APP = typer.Typer()
APP.command()(retrain)
APP.command()(decisions)


def held(day: int, reason: str = "held, because the last command was 1d ago; due, because AUC fell") -> PolicyDecision:
    return PolicyDecision(
        model_id="m", window_end_ms=day * DAY, trigger="performance", outcome="hold", reason=reason
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssessmentStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("USER", "ann")
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.setattr("driftloop.cli.retrain._BROKER_TIMEOUT_S", 0.1)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.yaml").write_text(
        "{model: m, task: binary, features: {x: {kind: numeric}}, training: {last: 10d}}", encoding="utf-8"
    )
    (tmp_path / "data").mkdir()
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'driftloop.db'}")
    create_schema(engine)
    return AssessmentStore(engine)


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(APP, list(arguments))


def fill(store: AssessmentStore, *days: int, labeled: int = 50) -> None:
    store.commit(reports=[(outcome(day, labeled_rows=labeled, content_digest=str(day)), b"") for day in days])


def sent(store: AssessmentStore) -> list[tuple[str, bytes]]:
    with reading(store._engine) as connection:
        rows = connection.execute(select(outbox).order_by(outbox.c.id))
        return [(row.topic, bytes(row.value)) for row in rows if row.topic != "window-reports"]


def test_a_person_asks_and_the_trainer_is_told(store: AssessmentStore) -> None:
    fill(store, *range(1, 31))
    done = run("retrain", "m", "--reason", "new prices", "--yes")
    assert done.exit_code == 0, done.output
    assert "to train on 1970-01-21 to 1970-01-31, 500 labeled rows" in done.output
    assert "when a worker or trainer publishes it" in done.output
    (command,) = store.commands("m")
    (decision,) = store.decisions("m")
    assert (command.trigger, command.reason, command.actor) == ("manual", "new prices", "ann")
    assert command.spec_digest == spec_digest(load_specs(Path("models"))["m"])
    assert decision.command_id == command.command_id
    events = dict(sent(store))
    assert msgspec.json.decode(events["retrain-commands"], type=RetrainCommand) == command
    assert msgspec.json.decode(events["policy-decisions"], type=PolicyDecision) == decision
    again = run("retrain", "m", "--reason", "new prices", "-y", "--json", "--from", "1970-01-05", "--to", "1970-01-10")
    given = json.loads(again.stdout.splitlines()[0])
    assert given["command_id"] != command.command_id
    assert (given["from_ms"], given["to_ms"]) == (4 * DAY, 9 * DAY)
    assert len(store.commands("m")) == 2


def test_nothing_happens_without_a_yes(store: AssessmentStore) -> None:
    fill(store, 1)
    asked = CliRunner().invoke(APP, ["retrain", "m", "--reason", "r"], input="n\n")
    assert asked.exit_code == 1
    assert "retrain m on" in asked.output
    assert store.commands("m") == []
    assert sent(store) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("other", "--reason", "r"), "no spec of 'other'; it has m"),
        (("m", "--reason", " "), "--reason needs a reason"),
        (("m", "--reason", "r", "--to", "1970-03-01"), "labels are there up to 1970-01-04"),
        (("m", "--reason", "r", "--from", "1970-03-01"), "must begin before it ends"),
        (("m", "--reason", "r", "--from", "soon"), "expected a time such as"),
    ],
)
def test_what_is_refused(store: AssessmentStore, arguments: tuple[str, ...], says: str) -> None:
    fill(store, 1, 2, 3)
    refused = run("retrain", *arguments, "--yes")
    assert refused.exit_code == 1
    assert says in refused.output
    assert store.commands() == []


def test_before_there_is_anything_to_train_on(store: AssessmentStore) -> None:
    assert "no final outcome window yet" in run("retrain", "m", "--reason", "r", "--yes").output
    fill(store, 1, labeled=0)
    assert "has a labeled row" in run("retrain", "m", "--reason", "r", "--yes").output
    assert store.commands() == []


def test_decisions_are_listed_by_window(store: AssessmentStore) -> None:
    fill(store, *range(1, 10))
    assert "no trigger was due" in run("decisions", "m").output
    store.commit(decisions=[held(5), held(4), held(4, "another one")])
    run("retrain", "m", "--reason", "new prices", "--yes")
    lines = [json.loads(line) for line in run("decisions", "m", "--json").output.splitlines()]
    assert [(line["window_end_ms"] // DAY, line["outcome"]) for line in lines] == [
        (4, "hold"),
        (4, "hold"),
        (5, "hold"),
        (9, "retrain"),
    ]
    assert lines[-1]["actor"] == "ann"
    text = run("decisions", "m").output
    assert "1970-01-06  hold     performance" in text
    assert "due, because AUC fell" in text
    assert "manual by ann  command" in text
    chosen = run("decisions", "m", "--json", "--from", "1970-01-05", "--to", "1970-01-06").output.splitlines()
    assert [json.loads(line)["window_end_ms"] // DAY for line in chosen] == [5]


def test_decisions_of_an_unknown_model(store: AssessmentStore) -> None:
    unknown = run("decisions", "other")
    assert unknown.exit_code == 1
    assert "there is no spec of 'other'" in unknown.output
