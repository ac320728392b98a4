"""What a person decides, from the command line or over HTTP: with a reason and a name, and not twice."""

from __future__ import annotations

from driftloop.registry.errors import RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.rows import UNDECIDED

__all__ = ["reject_undecided", "said", "signed"]


def said(reason: str) -> str:
    """The reason without spaces around it. Raises :class:`RegistryError` if there is none."""
    if not reason.strip():
        raise RegistryError("--reason needs a reason that others can follow")
    return reason.strip()


def signed(by: str, account: str | None) -> str:
    """The name that was given, with the account it was given under (None: over HTTP): nobody has checked the name."""
    name = by.strip()
    if not name:
        raise RegistryError("--by needs the name of who decides")
    if name == account:
        return name
    return f"{name} (HTTP)" if account is None else f"{name} (account {account})"


def reject_undecided(
    registry: Registry, model_id: str, version: str, reason: str, event_time_ms: int, actor: str
) -> None:
    """Reject a version that is not decided yet. Raises :class:`RegistryError` for any other."""
    before = registry.version(model_id, version)
    if before is not None and before.status not in UNDECIDED and "champion" not in before.aliases:
        raise RegistryError(f"the version {version!r} of {model_id!r} is {before.status} already; nothing was changed")
    registry.reject(model_id, version, said(reason), event_time_ms, actor)
