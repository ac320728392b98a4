"""Sends what is to be handed over, again if need be, and ends what took too long. In a thread of the trainer.

Several trainers may each have one: whoever claims a handover sends it. One that dies in between leaves it to the next,
which sends the same bytes with the same id.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from driftloop.events.time import duration_text, format_time
from driftloop.observability.logs import get_logger
from driftloop.registry.database import what_it_said
from driftloop.registry.handovers import Handover, HandoverState, HandoverStore
from driftloop.registry.run_log import RunEntry
from driftloop.registry.runs import RunStore
from driftloop.training.handover.credentials import CredentialsError, Keyring
from driftloop.training.handover.messages import Request, Result, encode
from driftloop.training.handover.orchestrators import Confirmed, NotNow, Post, Refused, hand_over
from driftloop.training.handover.transport import post

__all__ = ["Dispatcher", "place_of"]

log = get_logger(__name__)

#: Longer than two requests may take, so that nobody else sends meanwhile.
_CLAIM_S = 90.0
_FIRST_DELAY_S = 1.0
_MOST_DELAY_S = 300.0
_EVERY_S = 1.0


def place_of(request: Request) -> str:
    """Where a command goes, in words. A URL's path is left out: with webhooks it may be what lets one in."""
    parts = urlsplit(request.url)
    dag = "" if request.dag_id is None else f", DAG {request.dag_id}"
    return f"{request.to} at {parts.scheme}://{parts.netloc}{dag}"


class Dispatcher:
    """:meth:`turn` does what is due; :meth:`run` does it until ``stopping``. ``ended`` is called after an end."""

    def __init__(
        self,
        store: HandoverStore,
        runs: RunStore,
        keyring: Keyring,
        *,
        ended: Callable[[], None] = lambda: None,
        send: Post = post,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._runs = runs
        self._keyring = keyring
        self._ended = ended
        self._send = send
        self._clock = clock

    def run(self, stopping: threading.Event) -> None:
        """Until ``stopping``. A database that is away is asked again."""
        while not stopping.wait(_EVERY_S):
            try:
                self.turn()
            except SQLAlchemyError as error:
                log.warning("handovers wait: the database did not answer", error=what_it_said(error))
                stopping.wait(5.0)
            except Exception as error:
                log.exception("a handover could not be dealt with; it is tried again", error=str(error))
                stopping.wait(5.0)

    def turn(self) -> None:
        """Send what is due, end what is overdue."""
        for handover in self._store.due(self._clock()):
            if self._store.claim(handover.command_id, self._clock(), _CLAIM_S):
                self._send_one(handover)
        for handover in self._store.overdue(self._clock()):
            took = duration_text(handover.timeout_ms)
            self._fail(handover, f"no result came within {took} (training.handover.timeout)", "waiting")

    def _send_one(self, handover: Handover) -> None:
        request = msgspec.json.decode(handover.request, type=Request)
        place = place_of(request)
        try:
            credentials = self._keyring.named(request.credentials)
        except CredentialsError as error:
            self._fail(handover, f"it could not be handed over to {place}: {error}", "sending")
            return
        answer = hand_over(request, handover.command_id, handover.body, credentials, self._clock(), self._send)
        now = self._clock()
        tries = handover.tries + 1
        if isinstance(answer, Confirmed):
            deadline = format_time(round(now * 1000) + handover.timeout_ms)
            at = format_time(round(now * 1000))
            said = f" ({answer.said})" if answer.said else ""
            self._store.confirmed(
                handover.command_id,
                now,
                f"handed over to {place} at {at}{said}; without a result by {deadline} the run fails",
            )
            self._tell(handover, f"handed over to {place}{said}")
        elif isinstance(answer, Refused):
            self._fail(handover, f"it could not be handed over to {place}: {answer.reason}", "sending")
        elif now >= handover.give_up:
            self._fail(
                handover,
                f"it could not be handed over to {place} in {tries} tries, until training.handover.retry_for was over: "
                f"{answer.reason}",
                "sending",
            )
        else:
            self._later(handover, answer, tries, now, place)

    def _later(self, handover: Handover, answer: NotNow, tries: int, now: float, place: str) -> None:
        delay = min(_MOST_DELAY_S, max(answer.after_s, _FIRST_DELAY_S * 2.0 ** min(tries - 1, 16)))
        # The last try is when the time is over, not long before.
        at = max(now + _FIRST_DELAY_S, min(now + delay, handover.give_up))
        self._store.try_again(
            handover.command_id,
            at,
            f"to be handed over to {place}; try {tries} failed, the next is at {format_time(round(at * 1000))}: "
            f"{answer.reason}",
        )
        if tries == 1:
            self._tell(handover, f"could not be handed over yet: {answer.reason}")

    def _fail(self, handover: Handover, reason: str, state: HandoverState) -> None:
        result = Result(command_id=handover.command_id, status="failed", reason=reason, by="driftloop")
        if self._store.end(handover.command_id, encode(result), only=state) == "taken":
            self._tell(handover, reason)
            self._ended()

    def _tell(self, handover: Handover, text: str) -> None:
        log.info("handover", command_id=handover.command_id, what=text)
        run = self._runs.get(handover.command_id)
        attempt = 1 if run is None else run.attempts
        entry = RunEntry(attempt=attempt, kind="line", at=self._clock(), text=text)
        self._runs.log.add(handover.command_id, [entry])
