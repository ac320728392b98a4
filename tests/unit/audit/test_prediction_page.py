"""The account of one prediction, and its page as text, HTML and JSON."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer import Typer
from typer.testing import CliRunner

from driftloop.audit.account import Account, account_of
from driftloop.audit.find import Found, Trace
from driftloop.audit.html import html_page
from driftloop.audit.outcome import outcome_of
from driftloop.audit.page import sections
from driftloop.cli import audit as command
from driftloop.events.messages import Alert, Label, Labeled, Prediction
from driftloop.events.reports import FeatureReport, MetricReport, WindowReport
from driftloop.events.topics import Topics
from driftloop.registry import ArtifactStore, AssessmentStore, NewVersion, Registry, create_schema, open_engine
from driftloop.training.bootstrap import register_first_version
from driftloop.training.estimators import predict
from support.training_rows import DAY_MS, make_rows, make_spec

AT_MS = 40 * DAY_MS + 1_000
NASTY = "<script>alert('x')</script>\x1b[2J"
FEATURES: dict[str, Any] = {"x": 1.25, "colour": "red", "noise": 0.5}
TOPICS = Topics("t", 2, 2)


class World:
    def __init__(self, folder: Path) -> None:
        engine = open_engine(f"sqlite:///{folder / 'driftloop.db'}")
        create_schema(engine)
        self.registry = Registry(engine, ArtifactStore(folder / "artifacts"))
        self.assessments = AssessmentStore(engine)
        self.spec = make_spec(segments=["colour"])

    def trace(self, features: dict[str, Any] | None = None, version: str = "v1", said: Any = 0.75) -> Trace:
        event = Prediction(
            prediction_id="p1",
            model_id="m",
            model_version=version,
            event_time_ms=AT_MS,
            features=msgspec.Raw(msgspec.json.encode(FEATURES if features is None else features)),
            prediction=msgspec.Raw(msgspec.json.encode(said)),
            variant="b",
        )
        labels = [self.label(0, AT_MS + 3_600_000, 0), self.label(1, AT_MS + 7_200_000, 1)]
        return Trace(Found(event, 1, 17, 0), labels, [], [])

    def label(self, value: int, at_ms: int, revision: int) -> Found[Label]:
        label = Label(
            prediction_id="p1",
            model_id="m",
            event_time_ms=at_ms,
            label=msgspec.Raw(str(value).encode()),
            revision=revision,
        )
        return Found(label, 1, 5 + revision, 0)

    def account(self, trace: Trace | None = None, **today: Any) -> Account:
        return account_of(trace or self.trace(), TOPICS, self.registry, self.assessments, today)

    def judged(self) -> None:
        """The day's windows, one of which drifts, and an alert that is open and one that was resolved before."""
        feature = FeatureReport(
            feature="x", kind="numeric", rows=9, missing=0, reference_rows=400, results=[], decision="drift",
            sentence="x has moved up",
        )  # fmt: skip
        metric = MetricReport(metric="roc_auc", value=0.6, low=0.5, high=0.7, reference=0.9, rows=9)
        for kind, segment in (("input", ""), ("outcome", ""), ("input", "colour=red"), ("input", "colour=blue")):
            report = WindowReport(
                report_id=f"m/v1/{kind}/{segment}",
                model_id="m",
                model_version="v1",
                kind=kind,  # type: ignore[arg-type]
                segment=segment,
                window_start_ms=40 * DAY_MS,
                window_end_ms=41 * DAY_MS,
                status="final",
                rows=9,
                late_rows=0,
                sources=[],
                features=[feature] if kind == "input" else [],
                metrics=[metric] if kind == "outcome" else [],
                decision="drift" if kind == "input" else "ok",
                sentence=f"about {kind}",
            )
            self.assessments.commit(reports=[(report, b"")])
        for name, state, day in (("a", "opened", 38), ("b", "opened", 37), ("b", "resolved", 39), ("c", "opened", 41)):
            self.assessments.commit(alerts=[self.alert(name, state, day)])

    def alert(self, name: str, state: str, day: int) -> Alert:
        return Alert(
            alert_id=name, event_id=f"{name}{day}", model_id="m", model_version="v1", kind="drift",
            subject=f"of {name}", segment="", state=state, severity="warning", window_start_ms=(day - 1) * DAY_MS,  # type: ignore[arg-type]
            window_end_ms=day * DAY_MS, opened_at_ms=day * DAY_MS, report_id="r", statistic=None, threshold=None,
            message=f"message {name}",
        )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained once; every test gets a copy."""
    made = World(folder := tmp_path_factory.mktemp("trained"))
    register_first_version(made.registry, made.spec, *make_rows(), 100)
    made.registry.engine.dispose()
    return folder


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> World:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return World(tmp_path)


def text_of(account: Account) -> str:
    parts = []
    for section in sections(account):
        parts += [section.title, *(f"{name}: {value}" for name, value in section.facts)]
        parts += ["  ".join(row) for grid in section.grids for row in grid.rows]
        parts += section.sentences
    return "\n".join(parts)


def test_every_question_is_answered(world: World) -> None:
    world.judged()
    account = world.account()
    assert account.notes == []
    row = world.registry.version("m", "v1")
    assert row is not None
    assert account.champion_then == "v1"
    assert account.version is not None
    assert [(one.action, one.actor) for one in account.version.history] == [
        ("registered", "bootstrap"), ("promoted", "bootstrap"),
    ]  # fmt: skip
    assert account.version.code_commit == row.lineage["code_commit"]
    assert account.version.dataset["sha256"] == row.lineage["dataset"]["sha256"]
    assert [one.report_id for one in account.windows] == ["m/v1/input/", "m/v1/outcome/", "m/v1/input/colour=red"]
    assert account.windows[0].drifted == ["x"]
    assert [alert.alert_id for alert in account.alerts] == ["a"]
    assert account.moved is not None
    assert account.moved.exact
    import pandas as pd

    from driftloop.training.artifacts import load
    from driftloop.training.estimators import feature_frame

    pipeline = load(world.registry.store.read(row.artifact))  # type: ignore[arg-type]
    again = predict(pipeline, world.spec, feature_frame(world.spec, pd.DataFrame([FEATURES])))[0]
    assert account.said_again == again
    assert account.said_difference == abs(0.75 - again)
    assert account.outcome is not None
    assert [label.counts for label in account.outcome.labels] == [False, True]
    assert account.outcome.delay_ms == 7_200_000
    assert account.outcome.errors["squared_error"] == 0.0625
    text = text_of(account)
    for part in (
        "prediction: 0.75", "variant: b", "record: t.predictions, partition 1, offset 17", "percentile",
        "its training set of 400 rows", "(exact)", "input all rows: x has moved up",
        "open alert since 1970-02-08: warning drift of a: message a", "delay: 2h", "decided 1 at the threshold 0.5",
        "roc_auc 0.6 (reference 0.9)", "its rows never were on a topic", "champion at that time: this one",
    ):  # fmt: skip
        assert part in text, part


def test_what_is_missing_is_a_note_and_never_an_error(world: World) -> None:
    unknown = world.account(world.trace(version="v9"), m=world.spec)
    assert "the registry has no version 'v9' of 'm': nobody approved it here" in unknown.notes
    assert "champion at that time: v1, NOT this one" in text_of(unknown)
    assert "The registry does not have this version." in text_of(unknown)

    world.registry.register_version(NewVersion(model_id="m", version="mine", event_time_ms=1))
    mine = world.account(world.trace(version="mine"), m=world.spec)
    assert any("no model file" in note for note in mine.notes)
    assert any("no reference profile" in note for note in mine.notes)
    assert "registered without a training" in text_of(mine)
    assert any("there is no spec" in note for note in world.account(world.trace(version="mine")).notes)

    odd = world.account(world.trace(features={"x": "text"}, said="?"))
    assert any(note.startswith("the features do not fit the spec: ") for note in odd.notes)
    assert any(note.startswith("the prediction does not fit the spec: ") for note in odd.notes)
    assert "x  text" in text_of(odd)

    row = world.registry.version("m", "v1")
    assert row is not None
    world.registry.store.path(row.lineage["dataset"]["uri"]).unlink()
    gone = world.account()
    assert any("training set cannot be read" in note for note in gone.notes)
    assert "(its file is gone)" in text_of(gone)
    world.registry.store.path(row.artifact).write_bytes(b"damaged")  # type: ignore[arg-type]
    assert any("it is not known which features moved" in note and "damaged" in note for note in world.account().notes)
    unlabeled = world.account(Trace(world.trace().prediction, [], [], []))
    assert "No label has come." in text_of(unlabeled)


def test_a_joined_row_stands_for_records_that_are_gone(world: World) -> None:
    raw = world.trace().prediction
    assert raw is not None
    event = raw.event
    labeled = Labeled(
        prediction_id="p1", model_id="m", model_version="v1", predicted_at_ms=AT_MS, labeled_at_ms=AT_MS + 60_000,
        features=event.features, prediction=event.prediction, label=msgspec.Raw(b"true"), revision=0, late=True,
        source_partition=1, prediction_offset=17, label_offset=3,
    )  # fmt: skip
    account = world.account(Trace(None, [], [Found(labeled, 0, 9, 0)], ["its record is no longer there"]))
    assert (account.partition, account.offset, account.predicted_at_ms) == (1, 17, AT_MS)
    assert account.outcome is not None
    assert (account.outcome.late, account.outcome.delay_ms) == (True, 60_000)
    assert account.moved is not None
    assert "its record is no longer there" in text_of(account)


def test_of_joined_rows_the_best_counts_wherever_its_copies_lie(world: World) -> None:
    raw = world.trace().prediction
    assert raw is not None
    event = raw.event

    def row(revision: int, known_ms: int, *, late: bool, prediction_offset: int) -> Labeled:
        return Labeled(
            prediction_id="p1", model_id="m", model_version="v1", predicted_at_ms=AT_MS, labeled_at_ms=AT_MS + known_ms,
            features=event.features, prediction=event.prediction, label=msgspec.Raw(b"true"), revision=revision,
            late=late, source_partition=1, prediction_offset=prediction_offset, label_offset=3 + revision,
        )  # fmt: skip

    first = row(0, 60_000, late=False, prediction_offset=17)
    corrected = row(1, 90_000, late=True, prediction_offset=19)
    for rows in ([first, corrected], [first, corrected, first], [corrected, first]):
        trace = Trace(None, [], [Found(one, 0, at, 0) for at, one in enumerate(rows)], [])
        account = world.account(trace)
        assert account.offset == 19
        assert account.outcome is not None
        assert (account.outcome.joined, account.outcome.late, account.outcome.delay_ms) == (True, True, 90_000)


@pytest.mark.parametrize(
    ("task", "said", "label", "words", "errors"),
    [
        ("binary", 0.2, b"1", "which was wrong; it gave what came true a probability of 0.2", {"squared_error": 0.64}),
        ("regression", 5.0, b"3.5", "too high by 1.5", {"error": 1.5, "absolute_error": 1.5}),
        ("regression", 5.0, b"5", "exact", {"error": 0.0}),
        ("multiclass", (0.2, 0.5, 0.3), b'"high"', "the likeliest class was middle, and high came true: wrong",
         {"half_squared_error": 0.39}),
        ("ranking", ("a", "b", "c"), b'["c"]', "the first relevant item was at place 3 of 3",
         {"reciprocal_rank": 1 / 3}),
        ("ranking", ("a",), b'["z"]', "none of 1 relevant items was in the list of 1", {"reciprocal_rank": 0.0}),
        ("binary", 0.0, b"1", "wrong", {"log_loss": float("inf")}),
        ("binary", 0.5, b'"yes"', "the label does not fit the spec: ", {}),
    ],
)  # fmt: skip
def test_how_wrong_a_prediction_was(task: str, said: Any, label: bytes, words: str, errors: dict[str, float]) -> None:
    spec = make_spec(task) if task != "ranking" else msgspec.structs.replace(make_spec(), task="ranking")
    event = Label(prediction_id="p", model_id="m", event_time_ms=5, label=msgspec.Raw(label))
    found = outcome_of(spec, Trace(None, [Found(event, 0, 0, 0)], [], []), 1, said)
    assert found is not None
    assert words in found.sentence
    for name, value in errors.items():
        assert found.errors[name] == pytest.approx(value, abs=1e-12)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_escaped_and_needs_nothing_from_elsewhere(world: World) -> None:
    trace = world.trace(features={"x": 1.0, "colour": NASTY, NASTY: 1}, said=0.1)
    page = html_page(NASTY, NASTY, sections(world.account(trace)))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {"script", "img", "link", "iframe"} & set(tags.tags)
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_command_writes_each_form_and_says_what_is_wrong(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLOOP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRIFTLOOP_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr(command, "_BROKER_TIMEOUT_S", 0.2)
    app = Typer()
    app.command()(command.audit)
    found = CliRunner().invoke(app, ["p1"])
    assert found.exit_code == 1
    assert "127.0.0.1:1" in found.output
    assert CliRunner().invoke(app, ["p1", "--from", "soon"]).exit_code == 1

    account = world.account(world.trace(features={**FEATURES, "colour": NASTY}))
    monkeypatch.setattr(command, "_account", lambda *_: account)
    shown = CliRunner().invoke(app, ["p1"], env={"COLUMNS": "160"})
    assert shown.exit_code == 0, shown.output
    assert "What came true" in shown.output
    assert "\x1b" not in shown.output
    content = json.loads(CliRunner().invoke(app, ["p1", "--format", "json"]).stdout)
    assert content["moved"]["exact"] is True
    assert content["features"]["colour"] == NASTY
    for form in ("text", "json", "html"):
        path = tmp_path / f"page.{form}"
        assert CliRunner().invoke(app, ["p1", "--format", form, "--output", str(path)]).exit_code == 0
        assert "p1" in path.read_text()
    refused = CliRunner().invoke(app, ["p1", "--output", str(tmp_path / "no" / "page")])
    assert refused.exit_code == 1
    assert "cannot write" in refused.output
