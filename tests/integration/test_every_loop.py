"""Every trigger, guard, candidate, trainer, gate and promotion through the real topics: one passes, one does not.

Some fifty small models live in one running system, each named after what it shows (``support/loop_cases.py``,
``support/loop_training_cases.py``). All their events are published in event time; then each test reads what the topics
and the registry say of its own model. Shadow with model files and canary are in ``test_shadow.py``; the gate
``loadable`` can only refuse an artifact that was damaged on its way: ``tests/unit/training/test_training_gates.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from driftloop.kafka.embedded import EmbeddedBroker
from support import world
from support.loop_cases import POLICY_CASES
from support.loop_system import running_loops
from support.loop_training_cases import TRAINING_CASES
from support.loop_world import Loops, matches

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(1000)]


@pytest.fixture(scope="module")
def loops(embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loops]:
    with running_loops(embedded_broker.bootstrap, tmp_path_factory.mktemp("loops")) as loops:
        yield loops


# -- when to retrain ---------------------------------------------------------------------------------------------------

#: Model to everything that its policy says, in order: outcome, trigger, day and the beginning of the reason.
DECISIONS = {
    "performance-fires": ["retrain performance 4: roc_auc .*; for 1 window in a row"],
    "estimate-fires": ["retrain estimated_performance 4: .*roc_auc.*; for 1 window in a row"],
    "drift-fires": ["retrain drift 4: 2 of 4 features drift in the window up to 2024-01-05"],
    "drift-of-too-few": [],
    "critical-fires": ["retrain drift 4: 1 of 4 features drift critically"],
    "critical-not-yet": [],
    "concept-fires": ["retrain concept 4: "],
    "every-fires": ["retrain schedule 2: 2d since the first window, to be retrained every 2d"],
    "cron-fires": [r"retrain schedule 3: it is '0 0 \* \* thu' \(UTC\) at 2024-01-04"],
    "volume-fires": ["retrain volume 2: 200 new labeled rows since the first window, to be retrained every 150"],
    "nothing-fires": [],
    "cooldown": [
        "retrain schedule 1: 1d since the first window",
        "hold schedule 2: held, because the last command was 1d ago and the cooldown is 3d; due, because 1d since",
        "hold schedule 3: held, because the last command was 2d ago and the cooldown is 3d",
        "retrain schedule 4: 3d since the last command",
    ],
    "at-most": [
        "retrain schedule 1: ",
        "hold schedule 2: held, because there was 1 command in the last 3d and at most 1 is allowed, until 2024-01-05",
        "hold schedule 3: held, because there was 1 command in the last 3d",
        "retrain schedule 4: ",
    ],
    "warm-up": [
        "hold schedule 1: held, because the champion warms up: this is window 1 of 2",
        "hold schedule 2: held, because the champion warms up: this is window 2 of 2",
        "retrain schedule 3: ",
    ],
    "enough-rows": [
        "hold schedule 1: held, because there are 100 new labeled rows and at least 150 are wanted",
        "retrain schedule 2: ",
    ],
    "broken-data": [
        "hold drift 4: held, because the data of the newest input window is broken: .*x.*; due, because",
        "retrain drift 5: 2 of 4 features drift",
    ],
    "broken-scores": [
        "hold performance 4: held, because the data of the newest input window is broken: .*x.*; due, because roc_auc",
        "hold estimated_performance 4: held, because the data of the newest input window is broken: .*x.*; due, ",
    ],
    "broken-data-unguarded": ["retrain drift 4: "],
    "label-shift": [
        "hold schedule 5: held, because labels come for other scores than before, so a model would learn from a part: "
        r"of the predictions with scores above 0\.\d+ \d+\.\d% have a label",
        "retrain schedule 6: ",
    ],
    "label-shift-unguarded": ["retrain schedule 5: "],
    "breaker": ["retrain schedule 1: ", "retrain schedule 2: "],
}


@pytest.mark.parametrize("name", [given.name for given in POLICY_CASES])
def test_the_policy_decides(loops: Loops, name: str) -> None:
    matches(loops.decisions(name), DECISIONS[name])
    commands = [run.command for run in loops.runs(name) if run.command.trigger != "manual"]
    retrained = [line for line in loops.decisions(name) if line.startswith("retrain")]
    assert len(commands) == len(retrained)
    for command, line in zip(commands, retrained, strict=True):
        assert command.reason.startswith(line.split(": ", 1)[1])


def test_every_decision_is_an_event_and_a_row(loops: Loops) -> None:
    for name in loops.cases:
        rows = [msgspec.json.encode(row) for row in loops.store.decisions(name, limit=None)]
        assert sorted(rows) == sorted(map(msgspec.json.encode, loops.published_decisions.get(name, []))), name


def test_those_that_decide_nothing_have_been_judged(loops: Loops) -> None:
    def drifted(name: str) -> list[int]:
        days = (loops.store.reports(name, kind="input", segment="", to_ms=world.START + 4 * world.DAY))[::-1]
        return [report.drifted_features for report in days]

    assert drifted("drift-of-too-few") == [0, 0, 0, 2]
    assert drifted("critical-not-yet") == [0, 0, 0, 1]
    assert drifted("nothing-fires") == [0, 0, 0, 0]
    (last,) = loops.store.reports("nothing-fires", kind="outcome", segment="", limit=1)
    assert {metric.decision for metric in last.metrics if metric.metric == "roc_auc"} == {"ok"}
    assert {said.state for said in last.concept} == {"ok"}
    (last,) = loops.store.reports("nothing-fires", kind="input", segment="", to_ms=world.START + 4 * world.DAY, limit=1)
    assert "ok" in {metric.decision for metric in last.estimated}


def test_a_trigger_s_own_length_of_data(loops: Loops) -> None:
    command = loops.run("cron-fires").command
    assert (command.from_ms, command.to_ms) == (world.START + world.DAY, world.START + 3 * world.DAY)
    assert command.reason.endswith("trained on 2d, as the trigger says")
    assert loops.run("every-fires").command.from_ms < world.START


def test_a_person_asks_and_no_guard_holds(loops: Loops) -> None:
    code, said = loops.said["retrain nothing-fires"]
    assert code == 0, said
    run = loops.run("nothing-fires")
    assert (run.command.trigger, run.command.reason, run.outcome) == ("manual", "new prices", "registered")
    assert run.command.to_ms == world.START + 4 * world.DAY
    (decision,) = loops.published_decisions["nothing-fires"]
    assert (decision.trigger, decision.outcome, decision.command_id) == ("manual", "retrain", run.command.command_id)
    assert decision.actor == run.command.actor != ""


def test_a_person_asks_for_what_cannot_be_had(loops: Loops) -> None:
    code, said = loops.said["retrain nobody"]
    assert code != 0
    assert "no spec of 'nobody'" in said
    code, said = loops.said["retrain early"]
    assert code != 0
    assert "2024-01-05" in said  # where the last final outcome window ends


def test_the_breaker_holds_what_the_policy_asks_for_and_not_what_a_person_does(loops: Loops) -> None:
    first, second, by_hand = loops.runs("breaker")
    assert [first.outcome, second.outcome, by_hand.outcome] == ["rejected", "held", "rejected"]
    assert "the last challenger (v2) failed the gate metric:roc_auc" in second.reason
    assert by_hand.command.trigger == "manual"
    (held,) = [event for event in loops.events("breaker") if event.kind == "held"]
    assert (held.command_id, held.reason) == (second.command.command_id, second.reason)
    assert by_hand.version == "v3"


# -- what is trained, on what, and what is kept of it ------------------------------------------------------------------

#: Model to how its only run ends, and what its reason says.
RUNS = {
    "window": ("registered", ""),
    "window-too-short": (
        "failed",
        "none of training.candidates could be trained and compared: window of 10 rows: 10 rows before the slice, and "
        "training.minimum_rows is 50",
    ),
    "since-change": ("registered", ""),
    "everything": ("registered", ""),
    "decayed": ("registered", ""),
    "decayed-refused": ("failed", "KNeighborsClassifier takes no sample_weight"),
    "reservoir": ("registered", ""),
    "search": ("registered", "waits for approval"),
    "search-refused": ("failed", "training.search found no setting that works"),
    "function": ("registered", ""),
    "function-raises": ("failed", "LookupError: the price list of that month is not there"),
    "pipeline": ("registered", "waits for a person to promote it"),
    "pipeline-refused": ("failed", "The 'C' parameter of LogisticRegression must be"),
    "memory-limit": ("failed", "the training took more than 700 MiB of memory"),
    "time-limit": ("failed", "the training took longer than its time limit of 4s"),
    "expectations-met": ("registered", "waits for approval"),
    "expectations-unmet": (
        "failed",
        "expect_column_max_to_be_between(column='x', min_value=-10, max_value=0.0) is not met",
    ),
    "leak-found": ("failed", "leakage: 'noise' alone tells the labels of the later rows"),
    "one-class": ("failed", "rows_per_class: 0 rows have the label '1'; the bound is at least 10"),
    "gates-passed": ("promoted", "better by"),
    "labels-shuffled": ("rejected", "gate metric:brier: "),
    "slice-broken": ("rejected", "gate slices:brier: "),
    "group-left-out": ("rejected", "gate fairness"),
    "column-leaked": ("rejected", "gate robustness:brier: "),
    "rate-moved": ("rejected", "gate calibration"),
    "constant": ("rejected", "gate sanity: "),
    "feature-dropped": ("rejected", "gate schema: "),
    "shadow-promoted": ("registered", "is compared with the champion (shadow)"),
    "shadow-stopped": ("registered", "is compared with the champion (shadow)"),
    "shadow-then-approval": ("registered", "is compared with the champion (shadow)"),
}


@pytest.mark.parametrize("name", [given.name for given in TRAINING_CASES if given.name != "river"])
def test_the_run_ends(loops: Loops, name: str) -> None:
    outcome, reason = RUNS[name]
    run = loops.run(name)
    assert run.outcome == outcome, run.reason
    assert reason in run.reason
    versions = [version.version for version in loops.registry.versions(name)]
    if outcome == "failed":
        assert versions == ["v1"]
        (event,) = [event for event in loops.events(name) if event.kind == "failed"]
        assert (event.command_id, event.reason) == (run.command.command_id, run.reason)
    else:
        assert versions == ["v1", "v2"]
        assert run.version == "v2"
        assert loops.version(name).command_id == run.command.command_id


@pytest.mark.parametrize(
    ("name", "chosen", "rows", "left_out"),
    [
        ("window", "window of 80 rows", 80, {}),
        ("since-change", "since the change", None, {}),
        ("everything", "everything", 400, {
            "since the change": "no change has been dated",
            "reservoir of 20 rows": "20 rows before the slice, and training.minimum_rows is 50",
        }),
        ("decayed", "decayed by 12h", 400, {}),
        ("reservoir", "reservoir of 100 rows", 100, {}),
    ],
)  # fmt: skip
def test_a_candidate_is_chosen_or_left_out(
    loops: Loops, name: str, chosen: str, rows: int | None, left_out: dict[str, str]
) -> None:
    choice = loops.version(name).lineage["choice"]
    assert choice["chosen"] == chosen
    assert rows is None or choice["selected_rows"] == rows
    assert {one["name"]: one["left_out"] for one in choice["candidates"] if one["left_out"]} == left_out
    others = [one for one in choice["candidates"] if not one["left_out"] and one["name"] != chosen]
    assert all(one["behind"] > 0 for one in others)
    if name == "since-change":  # dated to within a bin or two, and only rows from then on were learned
        assert abs(choice["changed_at_ms"] - world.START - world.DAY) <= world.DAY // 6
        assert 250 < choice["selected_rows"] <= 350


def test_the_better_parameter_is_found(loops: Loops) -> None:
    version = loops.version("search")
    assert version.lineage["parameters"] == {"C": 1.0}
    assert [tried["parameters"] for tried in version.lineage["search"]["tried"]] == [{"C": 0.00001}, {"C": 1.0}]


def test_a_river_model_learns_on_and_refuses_without_new_rows(loops: Loops) -> None:
    first, second, by_hand = loops.runs("river")
    assert [first.outcome, second.outcome] == ["promoted", "promoted"]
    learned = [loops.version("river", version).lineage["learned_on"] for version in ("v2", "v3")]
    assert [(found["version"], found["new_rows"]) for found in learned] == [(None, 200), ("v2", 200)]
    assert learned[1]["rows_before"] == 200
    assert by_hand.outcome == "failed"
    assert "0 rows are later than" in by_hand.reason
    assert "training.minimum_rows is 50" in by_hand.reason


def test_a_function_and_a_pipeline_are_what_was_asked_for(loops: Loops) -> None:
    assert loops.version("function").lineage["estimator"] == "support.loop_functions:train"
    assert loops.version("pipeline").lineage["estimator"] == "sklearn.pipeline.Pipeline"
    assert loops.version("function").metrics["roc_auc"] > 0.8
    assert loops.version("pipeline").metrics["roc_auc"] > 0.8


@pytest.mark.parametrize("name", ["expectations-unmet", "leak-found", "one-class"])
def test_data_that_does_not_pass_validation_is_kept_with_what_was_found(loops: Loops, name: str) -> None:
    run = loops.run(name)
    assert run.reason.startswith("the data does not pass validation: ")
    assert {"dataset", "manifest", "validation"} <= run.files.keys()


def test_validation_that_passes_says_so(loops: Loops) -> None:
    assert loops.version("expectations-met").lineage["validation"]["verdict"] in ("pass", "warn")


# -- what a challenger must pass ---------------------------------------------------------------------------------------

#: Gate to the model whose challenger it refuses and what it says of it; "gates-passed" has one that each lets pass.
GATES = {
    "metric": ("labels-shuffled", "better by -"),
    "slices": ("slice-broken", "colour=red"),
    "fairness": ("group-left-out", "red"),
    "robustness": ("column-leaked", "noise missing"),
    "calibration": ("rate-moved", "ece"),
    "sanity": ("constant", "same"),
    "schema": ("feature-dropped", "old"),
}


def test_a_sound_challenger_passes_every_gate(loops: Loops) -> None:
    version = loops.version("gates-passed")
    assert [gate.gate.split(":")[0] for gate in version.gates] == [
        "sanity", "loadable", "schema", "metric", "slices", "fairness", "robustness", "calibration",
    ]  # fmt: skip
    assert all(gate.passed and gate.verdict == "passed" for gate in version.gates), version.gates
    assert loops.kinds("gates-passed") == ["registered", "promoted"]
    assert loops.champion("gates-passed") == "v2"


@pytest.mark.parametrize("kind", GATES)
def test_a_challenger_made_worse_is_refused_and_never_promoted(loops: Loops, kind: str) -> None:
    name, words = GATES[kind]
    gate = loops.gate(name, kind)
    assert (gate.passed, gate.verdict) == (False, "failed")
    assert words in gate.sentence, gate.sentence
    assert loops.specs[name].promotion == "automatic"  # nothing else stood in the way
    assert loops.kinds(name) == ["registered", "rejected"]
    assert (loops.champion(name), loops.version(name).status) == ("v1", "rejected")
    assert [row.version for row in loops.registry.history(name, "champion")] == ["v1"]


def test_the_broken_slice_was_better_in_total(loops: Loops) -> None:
    metrics = loops.version("slice-broken").metrics
    assert metrics["brier"] < 0.25  # what the champion's 0.5 has


# -- what becomes of one that has passed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "champion", "kinds"),
    [
        ("gates-passed", "v2", ["registered", "promoted"]),
        ("expectations-met", "v2", ["registered", "awaiting_approval", "promoted"]),
        ("search", "v1", ["registered", "awaiting_approval", "rejected"]),
        ("pipeline", "v2", ["registered", "promoted"]),
        ("function", "v1", ["registered"]),
        ("shadow-promoted", "v2", ["registered", "shadow_started", "shadow_passed", "promoted"]),
        ("shadow-stopped", "v1", ["registered", "shadow_started", "shadow_stopped", "rejected"]),
        (
            "shadow-then-approval", "v2",
            ["registered", "shadow_started", "shadow_passed", "awaiting_approval", "promoted"],
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_it(loops: Loops, name: str, champion: str, kinds: list[str]) -> None:
    assert loops.kinds(name) == kinds
    assert loops.champion(name) == champion


def test_people_decide_on_the_command_line(loops: Loops) -> None:
    for asked in ("approve", "reject", "approve after shadow", "promote"):
        code, said = loops.said[asked]
        assert code == 0, said
    for name, action in (
        ("expectations-met", "promoted"),
        ("search", "rejected"),
        ("shadow-then-approval", "promoted"),
    ):
        last = loops.events(name)[-1]
        assert (last.kind, last.actor.split()[0]) == (action, "ada")
        assert last.reason.endswith("a look at the numbers")
    code, said = loops.said["promote rejected"]
    assert code != 0
    assert "--force" in said or "rejected" in said


def test_a_shadow_s_last_look_says_why(loops: Loops) -> None:
    passed, stopped = (
        next(event for event in loops.events(name) if event.kind == kind)
        for name, kind in (("shadow-promoted", "shadow_passed"), ("shadow-stopped", "shadow_stopped"))
    )
    assert passed.look is not None
    assert stopped.look is not None
    assert passed.look.verdict == "promote"
    assert passed.look.low is not None
    assert passed.look.low > 0
    assert stopped.look.verdict == "stop"
