"""Scoreboard of the concept-drift detectors: delay, missed changes, false alarms, on streams with known change points.

    PYTHONPATH=app .venv/bin/python scripts/bench/detectors.py            # minutes; the table of docs/detectors.md
    PYTHONPATH=app .venv/bin/python scripts/bench/detectors.py --quick

A River model is trained on the first rows of a generator (or of a data set that ships with River or scikit-learn) and
then left as it is; its losses are the stream. The next rows are the reference, the ones after that come in order, in
bins of 50 rows, as a window's bins would. Changes: *abrupt* (another concept from one row to the next), *gradual* (its
share rises from 0 to 1 over 3,000 rows), *recurring* (it comes and goes every 2,500 rows). Data sets have no second
concept of their own: theirs is the same rows with a fifth of the labels replaced by others. A/A streams are drawn with
replacement from the rows after the reference; nothing ever changes in them. Alarms for the better do not count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import compose, datasets, naive_bayes, preprocessing, tree
from river.datasets import synth
from scipy.stats import binom, poisson
from sklearn.datasets import load_digits

from driftloop.concept.build import reference_risk
from driftloop.concept.watch import feed, start
from driftloop.performance.loss_bins import LossBin
from driftloop.performance.losses import losses_of, reference_losses
from driftloop.profiles.reference import LossReference
from driftloop.spec.basics import Task
from driftloop.spec.concept import ConceptDetector

Row = tuple[dict[Any, Any], Any]

BIN_ROWS = 50
TRAINED, REFERENCE, STABLE, CHANGED = 3_000, 2_000, 10_000, 5_000

RULES: dict[str, ConceptDetector] = {
    "confidence_sequence (default)": ConceptDetector(detector="confidence_sequence"),
    "confidence_sequence, tolerance 0": ConceptDetector(detector="confidence_sequence", tolerance=0.0),
    "e_detector (default: cusum)": ConceptDetector(detector="e_detector"),
    "e_detector, tolerance 0": ConceptDetector(detector="e_detector", tolerance=0.0),
    "e_detector, sr": ConceptDetector(detector="e_detector", kind="sr"),
    "adwin": ConceptDetector(detector="adwin"),
    "adwin, on error": ConceptDetector(detector="adwin", on="error"),
    "ddm": ConceptDetector(detector="ddm"),
    "eddm": ConceptDetector(detector="eddm"),
    "hddm_a": ConceptDetector(detector="hddm_a"),
    "hddm_w": ConceptDetector(detector="hddm_w"),
    "page_hinkley": ConceptDetector(detector="page_hinkley"),
    "kswin": ConceptDetector(detector="kswin"),
}


@dataclass
class Source:
    """Errors and losses (n, 2) of one frozen model on both concepts, and its reference."""

    reference: LossReference
    stable: NDArray[np.float64]
    changed: NDArray[np.float64]


@dataclass
class Score:
    delays: list[int] = field(default_factory=list)
    missed: int = 0
    changes: int = 0
    early: int = 0  # streams with an alarm before the change
    false_alarms: int = 0
    stable_rows: int = 0
    stable_streams: int = 0
    alarmed_streams: int = 0
    seconds: float = 0.0


# -- sources ---------------------------------------------------------------------------------------------------------


def take(rows: Iterator[Row], count: int) -> list[Row]:
    return [row for row, _ in zip(rows, range(count), strict=False)]


def generators(seed: int) -> dict[str, tuple[Task, Iterator[Row], Iterator[Row]]]:
    """Task, first and second concept."""
    other = seed + 1000
    return {
        "sea": ("binary", iter(synth.SEA(0, 0.1, seed)), iter(synth.SEA(3, 0.1, other))),
        "agrawal": ("binary", iter(synth.Agrawal(0, seed)), iter(synth.Agrawal(2, other))),
        "mixed": ("binary", iter(synth.Mixed(0, seed)), iter(synth.Mixed(1, other))),
        "hyperplane": (
            "binary",
            iter(synth.Hyperplane(seed, 10, 0, noise_percentage=0.05)),
            iter(synth.Hyperplane(other, 10, 0, noise_percentage=0.05)),
        ),
        "led": (
            "multiclass",
            iter(synth.LED(seed, 0.1, False)),
            reversed_features(iter(synth.LED(other, 0.1, False))),
        ),
        "friedman": ("regression", iter(synth.Friedman(seed)), reversed_features(iter(synth.Friedman(other)))),
    }


def reversed_features(rows: Iterator[Row]) -> Iterator[Row]:
    for x, y in rows:
        yield {name: x[len(x) - 1 - name] for name in x}, y


def data_sets(seed: int) -> dict[str, tuple[Task, list[Row]]]:
    """Rows in random order, so that nothing but the labels that are replaced later changes."""
    digits = load_digits()
    found: dict[str, tuple[Task, list[Row]]] = {
        "bananas": ("binary", list(datasets.Bananas())),
        "phishing": ("binary", list(datasets.Phishing())),
        "image segments": ("multiclass", list(datasets.ImageSegments())),
        "digits": (
            "multiclass",
            [
                ({f"p{at}": v for at, v in enumerate(x)}, int(y))
                for x, y in zip(digits.data, digits.target, strict=True)
            ],
        ),
    }
    for _, rows in found.values():
        np.random.default_rng(seed).shuffle(rows)  # type: ignore[arg-type]
    return found


def train(task: Task, rows: list[Row]) -> Any:
    model: Any
    if task == "regression":
        model = compose.Pipeline(preprocessing.StandardScaler(), tree.HoeffdingTreeRegressor(grace_period=100))
    elif task == "multiclass":
        model = naive_bayes.GaussianNB()
    else:
        model = tree.HoeffdingTreeClassifier(grace_period=100)
    for x, y in rows:
        model.learn_one(x, y)
    return model


def predictions(task: Task, model: Any, rows: list[Row], classes: list[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if task == "regression":
        return np.array([model.predict_one(x) for x, _ in rows]), np.array([y for _, y in rows])
    shares = [model.predict_proba_one(x) for x, _ in rows]
    if task == "binary":
        return np.array([float(s.get(True, s.get(1, 0.0))) for s in shares]), np.array([int(y) for _, y in rows])
    table = np.array([[float(s.get(name, 0.0)) for name in classes] for s in shares])
    return table, np.array([classes.index(y) for _, y in rows])


def source(task: Task, train_on: list[Row], reference: list[Row], stable: list[Row], changed: list[Row]) -> Source:
    model = train(task, train_on)
    classes = sorted({y for _, y in [*train_on, *reference, *stable, *changed]}) if task == "multiclass" else []
    of_reference = reference_losses(task, *predictions(task, model, reference, classes), 0.5)
    assert of_reference is not None
    parts = []
    for rows in (stable, changed):
        errors, losses = losses_of(task, *predictions(task, model, rows, classes), 0.5, of_reference.scale)
        parts.append(np.column_stack((errors.astype(float), losses)))
    return Source(of_reference, *parts)


def sources(seed: int, names: list[str] | None) -> Iterator[tuple[str, Source]]:
    for name, (task, first, second) in generators(seed).items():
        if names is None or name in names:
            rows = take(first, TRAINED + REFERENCE + STABLE)
            parts = rows[:TRAINED], rows[TRAINED : TRAINED + REFERENCE], rows[TRAINED + REFERENCE :]
            yield name, source(task, *parts, take(second, CHANGED))
    chance = np.random.default_rng(seed)
    for name, (task, rows) in data_sets(seed).items():
        if names is None or name in names:
            third = len(rows) // 3
            rest = rows[2 * third :]
            labels = sorted({y for _, y in rows})
            replaced = [
                (x, labels[(labels.index(y) + 1 + int(chance.integers(len(labels) - 1))) % len(labels)])
                if chance.random() < 0.2
                else (x, y)
                for x, y in rest
            ]
            made = source(task, rows[:third], rows[third : 2 * third], rest, replaced)
            made.stable = made.stable[chance.integers(len(rest), size=STABLE)]
            made.changed = made.changed[chance.integers(len(rest), size=CHANGED)]
            yield name, made


# -- streams ---------------------------------------------------------------------------------------------------------


def abrupt(made: Source, chance: np.random.Generator) -> NDArray[np.float64]:
    return np.concatenate((made.stable, made.changed))


def gradual(made: Source, chance: np.random.Generator) -> NDArray[np.float64]:
    share = np.minimum(np.arange(CHANGED) / 3_000, 1.0)
    old = made.stable[chance.integers(STABLE, size=CHANGED)]
    return np.concatenate((made.stable, np.where((chance.random(CHANGED) < share)[:, None], made.changed, old)))


def recurring(made: Source, chance: np.random.Generator) -> NDArray[np.float64]:
    old = made.stable[chance.integers(STABLE, size=2_500)]
    return np.concatenate((made.stable, made.changed[:2_500], old, made.changed[2_500:]))


SHAPES: dict[str, Callable[[Source, np.random.Generator], NDArray[np.float64]]] = {
    "abrupt": abrupt,
    "gradual": gradual,
    "recurring": recurring,
}


def bins_of(stream: NDArray[np.float64]) -> list[LossBin]:
    """Bins whose times are the numbers of their first rows."""
    return [
        LossBin(
            start_ms=at,
            rows=len(part),
            errors=int(part[:, 0].sum()),
            total=float(part[:, 1].sum()),
            squares=float((part[:, 1] ** 2).sum()),
        )
        for at in range(0, len(stream), BIN_ROWS)
        for part in (stream[at : at + BIN_ROWS],)
    ]


def alarms(rules: ConceptDetector, reference: LossReference, bins: list[LossBin]) -> list[int]:
    """Rows seen at each alarm for the worse."""
    watch = start(rules, reference)
    detector = watch.detector
    if detector is None:  # a model without any error on the reference: nothing to measure deviations in
        return []
    risk = reference_risk(reference, rules.stream)
    return [part.start_ms + part.rows for part in bins if feed(watch, detector, part, risk) and detector.rose]


# -- scores ----------------------------------------------------------------------------------------------------------


def score_change(score: Score, found: list[int]) -> None:
    score.changes += 1
    score.early += any(at <= STABLE for at in found)
    after = [at for at in found if at > STABLE]
    if after:
        score.delays.append(after[0] - STABLE)
    else:
        score.missed += 1


def score_stable(score: Score, found: list[int], rows: int) -> None:
    score.stable_streams += 1
    score.alarmed_streams += bool(found)
    score.false_alarms += len(found)
    score.stable_rows += rows


def run(seeds: int, stable_rows: int, names: list[str] | None) -> dict[str, dict[str, Score]]:
    """Scores by rule, then by shape of change (``all`` for A/A)."""
    scores = {rule: {shape: Score() for shape in (*SHAPES, "all")} for rule in RULES}
    for seed in range(seeds):
        for name, made in sources(seed, names):
            print(f"seed {seed}: {name}", file=sys.stderr)
            chance = np.random.default_rng([seed, 77])
            streams = {shape: bins_of(make(made, chance)) for shape, make in SHAPES.items()}
            again = bins_of(made.stable[chance.integers(STABLE, size=stable_rows)])
            # The pool's own mean is the truth of an A/A stream: the reference is a sample of it.
            sample = made.stable[chance.integers(STABLE, size=REFERENCE)]
            of_pool = LossReference(
                rows=REFERENCE,
                error_mean=float(sample[:, 0].mean()),
                loss_mean=float(sample[:, 1].mean()),
                loss_variance=float(sample[:, 1].var(ddof=1)),
                scale=made.reference.scale,
            )
            for rule, detector in RULES.items():
                for shape, bins in streams.items():
                    score_change(scores[rule][shape], alarms(detector, made.reference, bins))
                began = time.process_time()
                found = alarms(detector, of_pool, again)
                scores[rule]["all"].seconds += time.process_time() - began
                score_stable(scores[rule]["all"], found, stable_rows)
    return scores


def table(scores: dict[str, dict[str, Score]]) -> str:
    lines = [
        "| detector | abrupt: delay / missed | gradual | recurring | early alarms | A/A: alarms per million rows | "
        "A/A: streams with an alarm | µs a row |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule, by_shape in scores.items():
        cells = [rule]
        for shape in SHAPES:
            score = by_shape[shape]
            delay = f"{statistics.median(score.delays):,.0f}" if score.delays else "-"
            cells.append(f"{delay} / {score.missed} of {score.changes}")
        early = sum(by_shape[shape].early for shape in SHAPES)
        stable = by_shape["all"]
        cells += [
            f"{early} of {sum(by_shape[shape].changes for shape in SHAPES)}",
            f"{1e6 * stable.false_alarms / stable.stable_rows:,.1f}",
            f"{stable.alarmed_streams} of {stable.stable_streams}",
            f"{1e6 * stable.seconds / stable.stable_rows:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stable-rows", type=int, default=50_000, help="length of each A/A stream")
    parser.add_argument("--only", nargs="*", help="names of generators and data sets")
    parser.add_argument("--quick", action="store_true", help="one seed, A/A streams of 20,000 rows, three generators")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seeds, chosen.stable_rows, chosen.only = 1, 20_000, chosen.only or ["sea", "mixed", "friedman"]
    scores = run(chosen.seeds, chosen.stable_rows, chosen.only)
    print(table(scores))
    failures = broken(scores)
    for text in failures:
        print(text, file=sys.stderr)
    sys.exit(1 if failures else 0)


def broken(scores: dict[str, dict[str, Score]]) -> list[str]:
    """Guarantees that did not hold in the A/A streams, beyond what chance allows (one in 10,000)."""
    found = []
    for rule, detector in RULES.items():
        stable, alpha = scores[rule]["all"], float(detector.settings.get("alpha", 0.0))
        if detector.detector == "confidence_sequence":
            allowed, seen = binom.ppf(0.9999, stable.stable_streams, alpha), stable.alarmed_streams
        elif detector.detector == "e_detector":
            allowed, seen = poisson.ppf(0.9999, alpha * stable.stable_rows / BIN_ROWS), stable.false_alarms
        else:
            continue
        if seen > allowed:
            found.append(f"{rule}: {seen} in A/A streams, at most {allowed:.0f} are allowed at alpha {alpha:g}")
    return found


if __name__ == "__main__":
    main()
