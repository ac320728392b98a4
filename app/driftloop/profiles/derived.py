"""Numeric columns made from vector and text features, judged on all rows by the ordinary anchored histograms.

A vector gives its Euclidean norm; a text its length in characters and the share of its words that the reference does
not know. Both are counted exactly over every row of a window, unlike what is tested on a sample of rows.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.columns import Columns
from driftloop.spec.model import ModelSpec
from driftloop.spec.multivariate import derived_names

__all__ = ["MAX_VOCABULARY", "derive", "judged_kinds", "parent_of", "vocabulary", "words"]

#: Words of a reference that are kept, the most frequent ones.
MAX_VOCABULARY = 10_000
#: Characters of a text that are looked at for words, and of a word that are kept.
_MAX_SCANNED = 20_000
_MAX_WORD = 40

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and underscores, case folded and cut to 40 characters.

    >>> words("Don't panic, PANIC 42")
    ['don', 't', 'panic', 'panic', '42']
    """
    return [word[:_MAX_WORD] for word in _WORD.findall(text[:_MAX_SCANNED].casefold())]


def vocabulary(texts: Sequence[str | None]) -> list[str]:
    """The most frequent words of a reference's texts, at most :data:`MAX_VOCABULARY`, sorted; ties go to the earlier
    word of the alphabet."""
    counts: Counter[str] = Counter()
    for text in texts:
        if text is not None:
            counts.update(words(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return sorted(ranked[:MAX_VOCABULARY])


def derive(
    columns: Columns, vectors: Collection[str], vocabularies: Mapping[str, frozenset[str]]
) -> dict[str, NDArray[np.float64]]:
    """Derived columns (n,) of the vector features and of the text features, NaN where the value is missing. A column
    that is not there, or is of another kind, gives none. A text without a word has no unknown ones."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in vectors:
        column = columns.get(name)
        if isinstance(column, np.ndarray) and column.ndim == 2:
            (norm,) = derived_names(name, "vector")
            # hypot does not overflow where squaring would.
            found[norm] = np.array([math.hypot(*row) for row in np.asarray(column, np.float64)], np.float64)
    for name, known in vocabularies.items():
        texts = columns.get(name)
        if texts is None or isinstance(texts, np.ndarray):
            continue
        length, unknown = derived_names(name, "text")
        found[length] = np.array([math.nan if text is None else len(text) for text in texts], np.float64)
        found[unknown] = np.array([math.nan if text is None else _unknown(text, known) for text in texts], np.float64)
    return found


def _unknown(text: str, known: Collection[str]) -> float:
    found = words(text)
    return sum(word not in known for word in found) / len(found) if found else 0.0


def judged_kinds(spec: ModelSpec) -> dict[str, str]:
    """The columns that are judged one by one, with their kinds: numeric and categorical features, and the columns made
    from vector and text features in their place."""
    kinds: dict[str, str] = {}
    for name, feature in spec.features.items():
        if feature.kind in ("vector", "text"):
            kinds.update(dict.fromkeys(derived_names(name, feature.kind), "numeric"))
        else:
            kinds[name] = feature.kind
    return kinds


def parent_of(name: str, spec: ModelSpec) -> str:
    """The feature that a judged column comes from: ``comment`` for ``comment#length``, itself for any other."""
    if "#" not in name or name in spec.features:
        return name
    return name.rpartition("#")[0]
