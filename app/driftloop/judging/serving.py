"""Which version serves a window: the one that alerts, detectors and the policy are about.

A function of the window's rows, of the version that served before, and of the registry's history by event time. What
remembers something of the serving version starts anew with another one, so of two versions that share the traffic
(a canary, an A/B test) the same one has to be found window after window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from driftloop.judging.approval import Approved
from driftloop.spec.model import ModelSpec

if TYPE_CHECKING:
    from driftloop.judging.state import ModelState
    from driftloop.windows.assembly import WindowKey

__all__ = ["picked", "serving_version"]

#: The version that served before stays while it has at least one in so many of the rows that it is planned to have.
_KEEPS_ONE_IN = 3


def picked(
    key: WindowKey, rows: Mapping[str, int], state: ModelState, spec: ModelSpec, promoted: Approved, approved: Approved
) -> str | None:
    """The version that serves the window, given its rows by version; None without any version.

    An outcome window is about the version that served the input window of the same rows, so that what policy and alerts
    hear of both is about one version, however far predictions are ahead of labels.
    """
    if key.kind == "input":
        return serving_version(key, rows, state.quality.version, spec, promoted, approved)
    for heard in state.unheard_inputs:
        if heard.window_end_ms == key.end_ms and heard.model_version in rows:
            return heard.model_version
    return serving_version(key, rows, state.policy.champion_version, spec, promoted, approved)


def serving_version(
    key: WindowKey, rows: Mapping[str, int], last: str, spec: ModelSpec, promoted: Approved, approved: Approved
) -> str | None:
    """Of the versions with rows those count that have been champion by the window's end (``promoted``); if there is
    none, those that may serve (``approved``: an arm of a canary); if there is none either, all.

    Among these ``last``, which served before, stays while it has a third of the rows that it is planned to have: all of
    them, or with ``promotion: canary`` the champion's share. Else it is the version with most rows, of equals the one
    whose name comes last.
    """
    with_rows = {version: count for version, count in rows.items() if count > 0} or rows
    among = with_rows
    if len(with_rows) > 1:
        for may in (promoted, approved):
            allowed = {version: count for version, count in with_rows.items() if may(key.model_id, version, key.end_ms)}
            if allowed:
                among = allowed
                break
    if last in among and _KEEPS_ONE_IN * among[last] >= _planned_share(spec) * sum(among.values()):
        return last
    return max(among, key=lambda version: (among[version], version), default=None)


def _planned_share(spec: ModelSpec) -> float:
    """How much of the traffic the champion is to have at least."""
    canary = spec.shadow.canary if spec.promotion == "canary" else None
    return 1.0 if canary is None else 1.0 - canary.share
