"""The decision about a window's sampled rows: every method that the spec asks for, corrected together.

As for single features, an effect must be large enough *and* significant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from msgspec import structs

from driftloop.drift.multiple_testing import CORRECTIONS
from driftloop.drift.sentences import number_text
from driftloop.events.reports import Decision, MultivariateReport
from driftloop.multivariate.correlation import correlation_change
from driftloop.multivariate.domain_classifier import linear_classifier, text_classifier, tree_classifier
from driftloop.multivariate.encoding import Matrix, ordinal_matrix, score_matrix
from driftloop.multivariate.kernel import centroid_shift, mmd
from driftloop.multivariate.outcome import Effect, rounded
from driftloop.multivariate.reconstruction import pca_reconstruction
from driftloop.profiles.columns import Columns
from driftloop.profiles.derived import words
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.reference_sample import samples_rows
from driftloop.spec.model import ModelSpec, MultivariateMethod

__all__ = ["judge_rows", "with_rows_sentence"]

_WHAT = {
    "domain_classifier": "a classifier tells {of} from the reference with ROC AUC {size}",
    "pca_reconstruction": "{of} fit the reference's components otherwise, by {size} reference deviations",
    "mmd": "{of} differ from the reference by a maximum mean discrepancy of {size}",
    "correlation_change": "a rank correlation changed by {size}",
    "centroid_shift": "the centroid of {of} moved by {size} reference deviations",
}


def judge_rows(stats: InputStats, profile: ReferenceProfile, spec: ModelSpec) -> list[MultivariateReport]:
    """A report for each method on the features together, then for each on every vector and text feature.

    For windows of all rows: segments are not sampled. Fewer sampled rows than ``spec.minimum_rows`` (or than the
    sample's size, if that is less) give ``insufficient``; so does a version that was registered before the spec asked
    for samples.
    """
    if not samples_rows(spec):
        return []
    if stats.sample is None or profile.sample is None:
        return [_unjudged(*wanted, profile) for wanted in _wanted(spec)]
    reference, window = profile.sample.columns, stats.sample.columns()
    minimum = min(spec.minimum_rows, profile.sample.schema.rows)
    found: list[MultivariateReport] = []
    for subject, method in _wanted(spec):
        found.append(_measure(subject, method, reference, window, spec, minimum))
    known = [at for at, report in enumerate(found) if report.p_value is not None]
    adjusted = CORRECTIONS[spec.drift.correction]([found[at].p_value or 0.0 for at in known])
    for at, p_value in zip(known, adjusted, strict=True):
        found[at] = _decided(found[at], p_value, spec)
    return found


def with_rows_sentence(sentence: str, results: list[MultivariateReport]) -> str:
    """The window's sentence, and after it what the sampled rows say if they drift."""
    drifting = [result.sentence for result in results if result.decision == "drift"]
    return f"{sentence} Of sampled rows: {'; '.join(drifting)}." if drifting else sentence


def _wanted(spec: ModelSpec) -> list[tuple[str, MultivariateMethod]]:
    rules = spec.drift.multivariate
    wanted = [("", method) for method in rules.methods]
    for name, feature in spec.features.items():
        if feature.kind in ("vector", "text"):
            wanted += [(name, method) for method in (rules.vector if feature.kind == "vector" else rules.text)]
    return wanted


def _unjudged(subject: str, method: MultivariateMethod, profile: ReferenceProfile) -> MultivariateReport:
    return _insufficient(
        subject,
        method,
        0,
        0,
        f"the reference of version {profile.model_version} holds no sample of rows: {method.method} can be judged once "
        "a version is registered with the present spec",
    )


def _insufficient(
    subject: str, method: MultivariateMethod, rows: int, reference_rows: int, sentence: str
) -> MultivariateReport:
    return MultivariateReport(
        subject=subject,
        method=method.method,
        statistic=None,
        threshold=method.threshold,
        p_value=None,
        adjusted_p_value=None,
        rows=rows,
        reference_rows=reference_rows,
        decision="insufficient",
        sentence=sentence,
    )


def _measure(
    subject: str, method: MultivariateMethod, reference: Columns, window: Columns, spec: ModelSpec, minimum: int
) -> MultivariateReport:
    kinds = {name: f.kind for name, f in spec.features.items() if f.kind in ("numeric", "categorical")}
    names = [subject] if subject else list(kinds)
    absent = [name for name in names if name not in reference]
    if absent:
        return _insufficient(
            subject,
            method,
            0,
            0,
            f"the reference has no sample of {absent[0]}: register a version with the present spec",
        )
    if subject:
        kind = spec.features[subject].kind
        before, now = (_present(side[subject], kind) for side in (reference, window))
        rows, reference_rows = len(now), len(before)
    else:
        rows, reference_rows = (len(side[names[0]]) for side in (window, reference))
    few = rows if rows < minimum else reference_rows
    if few < minimum:
        whose = "the window" if rows < minimum else "the reference"
        text = f"too few sampled rows of {whose} for {method.method}: {few:,}, at least {minimum:,} are needed"
        return _insufficient(subject, method, rows, reference_rows, text)
    seed = spec.drift.multivariate.seed
    if subject:
        effect = _of_feature(method.method, before, now, spec.features[subject].kind, seed)
    else:
        effect = _TOGETHER[method.method](reference, window, kinds, seed)
    size, p_value = rounded(effect.size), rounded(effect.p_value)
    if size is None or p_value is None:
        text = f"{method.method} is not defined on these rows{f' ({effect.detail})' if effect.detail else ''}"
        return _insufficient(subject, method, rows, reference_rows, text)
    of = f"{subject} of the window's rows" if subject else "the window's rows"
    sentence = _WHAT[method.method].format(of=of, size=number_text(size))
    return MultivariateReport(
        subject=subject,
        method=method.method,
        statistic=size,
        threshold=method.threshold,
        p_value=p_value,
        adjusted_p_value=None,
        rows=rows,
        reference_rows=reference_rows,
        decision="ok",
        sentence=f"{sentence} ({effect.detail})" if effect.detail else sentence,
    )


def _decided(report: MultivariateReport, adjusted: float, spec: ModelSpec) -> MultivariateReport:
    large = report.threshold is not None and (report.statistic or 0.0) >= report.threshold
    significant = adjusted < spec.drift.significance
    decision: Decision = "drift" if large and significant else "ok"
    p_text = "adjusted p < 0.000001" if adjusted < 1e-6 else f"adjusted p = {number_text(adjusted)}"
    bound = "" if report.threshold is None else f", threshold {number_text(report.threshold)}"
    return structs.replace(
        report, adjusted_p_value=rounded(adjusted), decision=decision, sentence=f"{report.sentence}{bound}; {p_text}"
    )


def _trees(reference: Columns, window: Columns, kinds: Mapping[str, str], seed: int) -> Effect:
    rows, categorical = ordinal_matrix(reference, window, kinds)
    return tree_classifier(rows, categorical, _rows(reference, kinds), seed=seed)


def _mmd(reference: Columns, window: Columns, kinds: Mapping[str, str], seed: int) -> Effect:
    return mmd(score_matrix(reference, window, kinds), _rows(reference, kinds), seed=seed)


def _reconstruction(reference: Columns, window: Columns, kinds: Mapping[str, str], seed: int) -> Effect:
    return pca_reconstruction(
        {name: reference[name] for name in kinds}, {name: window[name] for name in kinds}, kinds, seed=seed
    )


def _correlation(reference: Columns, window: Columns, kinds: Mapping[str, str], seed: int) -> Effect:
    names = [name for name, kind in kinds.items() if kind == "numeric"]
    if len(names) < 2:
        return Effect(None, None, "it needs two numeric features")
    before, now = (
        np.column_stack([np.asarray(side[name], np.float64) for name in names]) for side in (reference, window)
    )
    return correlation_change(before, now, names)


_TOGETHER: dict[str, Callable[[Columns, Columns, Mapping[str, str], int], Effect]] = {
    "domain_classifier": _trees,
    "pca_reconstruction": _reconstruction,
    "mmd": _mmd,
    "correlation_change": _correlation,
}


def _of_feature(method: str, reference: object, window: object, kind: str, seed: int) -> Effect:
    if kind == "text":
        assert isinstance(reference, list), "texts are lists"
        assert isinstance(window, list), "texts are lists"
        return text_classifier([words(text) for text in [*reference, *window]], len(reference), seed=seed)
    rows: Matrix = np.concatenate([np.asarray(reference, np.float64), np.asarray(window, np.float64)])
    count = len(np.asarray(reference))
    if method == "domain_classifier":
        return linear_classifier(rows, count, seed=seed)
    return mmd(_scaled(rows), count, seed=seed) if method == "mmd" else centroid_shift(rows, count, seed=seed)


def _present(column: object, kind: str) -> list[str] | Matrix:
    if kind == "text":
        assert isinstance(column, list), "texts are lists"
        return [text for text in column if text is not None]
    vectors = np.asarray(column, np.float64)
    return vectors[~np.isnan(vectors).any(axis=1)]


def _scaled(rows: Matrix) -> Matrix:
    """The largest component is 1: squares of components near the limits of float64 would overflow."""
    largest = float(np.abs(rows).max(initial=0.0))
    return rows / largest if largest else rows


def _rows(columns: Columns, kinds: Mapping[str, str]) -> int:
    return len(columns[next(iter(kinds))])
