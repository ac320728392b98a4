"""The models of the test of whole loops that show what is trained on what, what judges it, and what becomes of it.

Each is retrained once, on the last day of its history.
"""

from __future__ import annotations

from typing import Any

from support import loop_rows as rows
from support.loop_cases import Case, case, retrain_on

__all__ = ["TRAINING_CASES"]

ONE_FEATURE = {"x": {"kind": "numeric"}}
TREES = "sklearn.ensemble.HistGradientBoostingClassifier"
LEAKS_PASS = {"leakage": None}
#: Rows before this share of the history are learned, the others are the holdout.
LEARNED = 0.6
#: What champions were fitted with whose spec has lost a feature since; they are judged by what they said live.
WITH_ANOTHER = ["x", "colour", "noise", "old"]


def once(name: str, days: int, *given: Any, **more: Any) -> Case:
    """Retrained when its days are over."""
    return case(name, days, *given, policy=retrain_on({"on": "schedule", "every": f"{days}d"}), **more)


def choosing(name: str, *candidates: dict[str, Any], story: rows.Story = rows.stable, **training: Any) -> Case:
    return once(name, 4, story, training={"candidates": list(candidates), **training})


def trained(name: str, estimator: str | None = None, promotion: str = "manual", **training: Any) -> Case:
    own = {"estimator": estimator} if estimator else {}
    whole = estimator is None or not estimator.startswith("support.")
    features = {} if whole else {"features": ONE_FEATURE}
    return once(name, 2, promotion=promotion, training={**own, **training}, **features)


def gated(name: str, gate: dict[str, Any], story: rows.Story, **more: Any) -> Case:
    """Promoted at once if that one gate lets it."""
    return once(name, 4, story, per_day=150, gates=[gate], promotion="automatic", **more)


CANDIDATES = [
    # From the second day on the world is another one; the rows that candidates select from end on the third.
    choosing("window", {"candidate": "everything"}, {"candidate": "window", "rows": 80}, story=rows.labels_reversed(2)),
    choosing("window-too-short", {"candidate": "window", "rows": 10}),
    once(
        "since-change", 4, rows.labels_reversed(2), concept={"detectors": [{"detector": "confidence_sequence"}]},
        training={"candidates": [{"candidate": "everything"}, {"candidate": "since_change"}]},
    ),
    once(
        "everything", 4, concept={"detectors": [{"detector": "confidence_sequence"}]},
        training={
            "candidates": [
                {"candidate": "since_change"}, {"candidate": "reservoir", "rows": 20}, {"candidate": "everything"},
            ]
        },
    ),
    choosing(
        "decayed", {"candidate": "everything"}, {"candidate": "decayed", "half_life": "12h"},
        story=rows.labels_reversed(2),
    ),
    choosing(
        "decayed-refused", {"candidate": "decayed", "half_life": "1d"},
        estimator="sklearn.neighbors.KNeighborsClassifier",
    ),
    choosing("reservoir", {"candidate": "reservoir", "rows": 100, "stratum": "1d"}),
]  # fmt: skip

TRAINERS = [
    # A person will refuse it.
    trained("search", promotion="approval", search={"parameters": {"C": [0.00001, 1.0]}, "split": "forward"}),
    trained("search-refused", search={"parameters": {"C": [-1.0]}, "split": "forward"}),
    case(
        "river", 4,
        policy=retrain_on({"on": "schedule", "every": "2d"}, cooldown="0d"),
        training={"estimator": None, "river": {"model": "river.linear_model.LogisticRegression"}},
        promotion="automatic",
    ),
    trained(
        "function", "support.loop_functions:train", parameters={"C": 0.5},
        memory_limit="2GiB", time_limit="5m", threads=1,
    ),
    trained("function-raises", "support.loop_functions:raises"),
    # A person will promote it.
    trained(
        "pipeline", "sklearn.pipeline.Pipeline",
        parameters={"steps": [["model", {"class": "sklearn.linear_model.LogisticRegression", "C": 0.1}]]},
    ),
    trained(
        "pipeline-refused", "sklearn.pipeline.Pipeline",
        parameters={"steps": [["model", {"class": "sklearn.linear_model.LogisticRegression", "C": -1.0}]]},
    ),
    trained("memory-limit", "support.loop_functions:greedy", memory_limit="700MiB"),
    trained("time-limit", "support.loop_functions:sleeps", time_limit="4s"),
]  # fmt: skip


def _suite(most: float) -> dict[str, Any]:
    kwargs = {"column": "x", "min_value": -10, "max_value": most}
    return {"name": "prices", "expectations": [{"type": "expect_column_max_to_be_between", "kwargs": kwargs}]}


VALIDATION = [
    # A person will approve of it.
    trained("expectations-met", promotion="approval", expectations=_suite(10.0)),
    trained("expectations-unmet", expectations=_suite(0.0)),
    once("leak-found", 2, rows.label_leaked),
    once("one-class", 2, rows.no_event),
]

#: A challenger must be sound in every way to be promoted: the same bounds refuse the ones below.
METRIC = {"gate": "metric", "metric": "brier", "margin": 0.01}
SLICES = {"gate": "slices", "columns": ["colour"], "metric": "brier", "margin": 0.05}
FAIRNESS = {"gate": "fairness", "columns": ["colour"], "bounds": {"demographic_parity_difference": 0.5}}
ROBUSTNESS = {"gate": "robustness", "metric": "brier", "each_missing": 0.2}
CALIBRATION = {"gate": "calibration", "bounds": {"ece": 0.1}}

GATES = [
    once(
        "gates-passed", 4, rows.scores_dull, per_day=150, promotion="automatic", fitted_with=WITH_ANOTHER,
        gates=[
            {"gate": "sanity"}, {"gate": "loadable"}, {"gate": "schema", "removed": ["old"]},
            METRIC, SLICES, FAIRNESS, ROBUSTNESS, CALIBRATION,
        ],
    ),
    gated("labels-shuffled", METRIC, rows.labels_shuffled(LEARNED)),
    gated(
        "slice-broken", SLICES, rows.slice_broken(LEARNED),
        training={"estimator": TREES, "parameters": {"max_iter": 20}},
    ),
    gated("group-left-out", FAIRNESS, rows.label_by_colour, training={"validation": LEAKS_PASS}),
    gated("column-leaked", ROBUSTNESS, rows.label_leaked, training={"validation": LEAKS_PASS}),
    gated("rate-moved", CALIBRATION, rows.base_rate_moved(LEARNED)),
    gated("constant", {"gate": "sanity"}, rows.stable, training={"estimator": "sklearn.dummy.DummyClassifier"}),
    gated("feature-dropped", {"gate": "schema"}, rows.stable, fitted_with=WITH_ANOTHER),
]  # fmt: skip

BETTER = {"minimum_rows": 200, "minimum_windows": 2}


def compared(name: str, story: rows.Story, **more: Any) -> Case:
    """Trained on two days, then compared with the champion for as long as there are rows."""
    return case(
        name, 8, story, per_day=150, promotion="shadow",
        policy=retrain_on({"on": "schedule", "every": "2d"}), **more,
    )  # fmt: skip


PROMOTION = [
    compared("shadow-promoted", rows.scores_dull, shadow=BETTER),
    compared("shadow-stopped", rows.stable, shadow={**BETTER, "longest": "4d"}),
    compared("shadow-then-approval", rows.scores_dull, shadow={**BETTER, "then": "approval"}),
]

TRAINING_CASES = [*CANDIDATES, *TRAINERS, *VALIDATION, *GATES, *PROMOTION]
