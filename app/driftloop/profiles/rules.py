"""Range and format rules of features: how many rows of a batch violate which rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from driftloop.profiles.columns import Columns
from driftloop.spec.model import FeatureSpec, ModelSpec

__all__ = ["LONGEST_MATCHED", "RULES", "RuleBook"]

#: The rules that a feature can have, by their names in the spec.
RULES = ("minimum", "maximum", "pattern", "categories")

#: A longer text is a violation of ``pattern`` unread: matching takes time with the text, which comes from outside.
LONGEST_MATCHED = 1_000

# Verdicts on texts are remembered up to so many, then forgotten all at once.
_REMEMBERED = 10_000


class RuleBook:
    """The rules of a spec. A missing value violates none; an infinite one is beyond its bound."""

    def __init__(self, spec: ModelSpec) -> None:
        self._bounds = {
            name: (feature.minimum, feature.maximum)
            for name, feature in spec.features.items()
            if feature.minimum is not None or feature.maximum is not None
        }
        self._texts: list[tuple[str, str, _TextRule]] = []
        for name, feature in spec.features.items():
            self._texts += [(name, rule, _TextRule(accepts)) for rule, accepts in _text_rules(feature)]

    def __bool__(self) -> bool:
        return bool(self._bounds or self._texts)

    def violations(self, columns: Columns) -> dict[tuple[str, str], int]:
        """Rows in violation by (feature, rule), only those with any. Columns as of :class:`FeatureDecoder`."""
        found: dict[tuple[str, str], int] = {}
        for name, (minimum, maximum) in self._bounds.items():
            values = np.asarray(columns[name], np.float64)
            if minimum is not None:
                found[name, "minimum"] = int(np.count_nonzero(values < minimum))  # NaN is never less
            if maximum is not None:
                found[name, "maximum"] = int(np.count_nonzero(values > maximum))
        for name, rule, check in self._texts:
            found[name, rule] = check.violations(list(columns[name]))
        return {key: rows for key, rows in found.items() if rows}


class _TextRule:
    """A rule on texts that remembers its verdicts, texts being few and frequent."""

    def __init__(self, accepts: Callable[[str], bool]) -> None:
        self._accepts = accepts
        self._verdicts: dict[str, bool] = {}

    def violations(self, texts: Sequence[str | None]) -> int:
        rows = 0
        for text, count in Counter(texts).items():
            if text is None:
                continue
            good = self._verdicts.get(text)
            if good is None:
                if len(self._verdicts) >= _REMEMBERED:
                    self._verdicts.clear()
                good = self._verdicts[text] = self._accepts(text)
            rows += 0 if good else count
        return rows


def _text_rules(feature: FeatureSpec) -> list[tuple[str, Callable[[str], bool]]]:
    rules: list[tuple[str, Callable[[str], bool]]] = []
    if feature.pattern is not None:
        matches = re.compile(feature.pattern).fullmatch
        rules.append(("pattern", lambda text: len(text) <= LONGEST_MATCHED and matches(text) is not None))
    if feature.categories is not None:
        rules.append(("categories", frozenset(feature.categories).__contains__))
    return rules
