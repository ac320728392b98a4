"""Decisions over HTTP: ``POST /models/{model}/{promote|approve|reject|rollback|retrain}``.

Each needs the token, as ``Authorization: Bearer ...``; without one in the settings there are no actions at all. The
body is JSON: ``reason``, ``by`` (who decides), ``version``; ``force`` for promote and approve. The commands of the same
names do the same; both end in the registry's history, with the name that was given and that it came over HTTP.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct
from sqlalchemy.exc import SQLAlchemyError

from driftloop.events.decoding import UNDECODABLE
from driftloop.observability.logs import get_logger
from driftloop.registry.by_hand import reject_undecided, said, signed
from driftloop.registry.errors import RegistryError, UnknownModelError
from driftloop.registry.models import Registry

__all__ = ["Actions", "Answer"]

log = get_logger(__name__)

_PATH = re.compile(r"/models/(?P<model>[^/]+)/(?P<action>[a-z_]+)")
_RETRAIN = "retrain"
#: Model, reason and actor to the id of the command that was given. Raises ``ValueError`` or ``RegistryError``.
Retrain = Callable[[str, str, str], str]
Answer = tuple[HTTPStatus, dict[str, object]]


class Decision(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a request. ``version`` is not wanted for a rollback."""

    reason: Annotated[str, Meta(min_length=1, max_length=2000)]
    by: Annotated[str, Meta(min_length=1, max_length=200)]
    version: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    force: bool = False


class Actions:
    """Carries out authorised requests. ``publish`` tells subscribers, as far as the broker can be reached; ``retrain``
    gives a command for (model, reason, actor) and returns its id."""

    def __init__(
        self,
        registry: Registry,
        token: str | None,
        publish: Callable[[], object],
        retrain: Retrain,
        now_ms: Callable[[], int] = lambda: round(time.time() * 1000),
    ) -> None:
        self._registry = registry
        self._token = token
        self._publish = publish
        self._retrain = retrain
        self._now_ms = now_ms

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Status and JSON content for one request. Says nothing about models to who has no token."""
        refused = self.admit(path, headers)
        if refused is not None:
            return refused
        match = _PATH.fullmatch(path)
        if match is None or match["action"] not in (*_ACTIONS, _RETRAIN):
            actions = ",".join((*_ACTIONS, _RETRAIN))
            return HTTPStatus.NOT_FOUND, {"error": f"no such action: POST /models/MODEL/{{{actions}}}"}
        try:
            decision = msgspec.json.decode(body, type=Decision)
            model = unquote(match["model"], errors="strict")
            self._registry.expect_model(model)
            if match["action"] == _RETRAIN:
                command_id = self._ask(model, decision)
                return HTTPStatus.ACCEPTED, {"model": model, "command_id": command_id}
            version = _ACTIONS[match["action"]](self._registry, model, decision, self._now_ms())
        except UNDECODABLE as error:
            return HTTPStatus.BAD_REQUEST, {"error": f"the body is not what is wanted: {error}"}
        except UnknownModelError as error:
            return HTTPStatus.NOT_FOUND, {"error": str(error)}
        except (RegistryError, ValueError) as error:
            return HTTPStatus.CONFLICT, {"error": str(error)}
        except SQLAlchemyError as error:
            log.error("the database did not answer a request", path=path, exc_info=error)
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database does not answer; nothing was decided"}
        log.info("decided over HTTP", action=match["action"], model=model, version=version, by=decision.by)
        self._publish()
        try:
            champion = self._registry.champion(model)
        except SQLAlchemyError:
            champion = None  # it was decided all the same
        return HTTPStatus.OK, {
            "model": model,
            "version": version,
            "champion": None if champion is None else champion.version,
        }

    def _ask(self, model: str, decision: Decision) -> str:
        if decision.version is not None:
            raise ValueError("a training makes a version of its own: leave out 'version'")
        command_id = self._retrain(model, said(decision.reason), signed(decision.by, None))
        log.info("a training was asked for over HTTP", model=model, command_id=command_id, by=decision.by)
        self._publish()
        return command_id

    def admit(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Refuses who has no token, whatever the path and the body are."""
        if self._token is None:
            return HTTPStatus.FORBIDDEN, {
                "error": "actions are off: set DRIFTLOOP_WEB_TOKEN or DRIFTLOOP_WEB_TOKEN_FILE"
            }
        named = {name.lower(): value for name, value in headers.items()}
        scheme, _, given = named.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            return HTTPStatus.UNAUTHORIZED, {"error": "this needs the token: Authorization: Bearer ..."}
        # A form of some web page cannot send this type without asking first.
        if named.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "the body must be application/json"}
        return None


def _promote(registry: Registry, model: str, decision: Decision, now_ms: int) -> str:
    version = _version(decision)
    registry.promote(
        model, version, said(decision.reason), now_ms, signed(decision.by, None), allow_rejected=decision.force
    )
    return version


def _approve(registry: Registry, model: str, decision: Decision, now_ms: int) -> str:
    version = _version(decision)
    registry.approve(model, version, said(decision.reason), now_ms, signed(decision.by, None), anyway=decision.force)
    return version


def _reject(registry: Registry, model: str, decision: Decision, now_ms: int) -> str:
    version = _version(decision)
    reject_undecided(registry, model, version, decision.reason, now_ms, signed(decision.by, None))
    return version


def _rollback(registry: Registry, model: str, decision: Decision, now_ms: int) -> str:
    if decision.version is not None:
        raise ValueError("a rollback goes to the champion before the present one: leave out 'version'")
    return registry.rollback(model, said(decision.reason), now_ms, signed(decision.by, None))


_ACTIONS: dict[str, Callable[[Registry, str, Decision, int], str]] = {
    "promote": _promote,
    "approve": _approve,
    "reject": _reject,
    "rollback": _rollback,
}


def _version(decision: Decision) -> str:
    if decision.version is None:
        raise ValueError("name the 'version'")
    return decision.version
