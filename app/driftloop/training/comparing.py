"""While a challenger is compared with the champion, no other one is trained by itself.

A comparison needs windows and weeks, and a newer challenger would end it without a verdict: a model that is retrained
more often than a comparison takes would never have another champion. When a comparison ends hangs on machines as well
as on the logs, so this is the trainer's to ask, as the breaker is, and no command of the policy hangs on it.
"""

from __future__ import annotations

from driftloop.events.decisions import RetrainCommand
from driftloop.events.time import format_time
from driftloop.policy.breaker import MANUAL
from driftloop.registry.shadows import ShadowRow, ShadowStore
from driftloop.spec.model import ModelSpec

__all__ = ["compared_until_ms", "may_supersede", "why_not_now"]


def may_supersede(spec: ModelSpec, command: RetrainCommand) -> bool:
    """Whether the command's challenger may end the comparison of another: a person asked, or the spec allows it."""
    return command.trigger == MANUAL or spec.shadow.supersede


def why_not_now(store: ShadowStore, spec: ModelSpec, command: RetrainCommand) -> str | None:
    """Why the command must not be carried out while a comparison is open, or None."""
    if spec.promotion not in ("shadow", "canary") or may_supersede(spec, command):
        return None
    found = store.going_on(spec.model)
    return _sentence(found[-1], spec) if found else None


def compared_until_ms(row: ShadowRow, spec: ModelSpec) -> int:
    """Event time of the last prediction, exclusive, that the comparison can look at: ``shadow.longest`` in whole
    windows from its beginning."""
    return row.from_ms - (-spec.shadow.longest_ms // spec.window_ms) * spec.window_ms


def _sentence(row: ShadowRow, spec: ModelSpec) -> str:
    return (
        f"not now, because {row.version} is compared with {row.champion} ({row.mode}), on predictions up to "
        f"{format_time(compared_until_ms(row, spec))} at the latest; see 'driftloop models shadow {row.model_id}', and "
        "'driftloop models reject' to end it"
    )
