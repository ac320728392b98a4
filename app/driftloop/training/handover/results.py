"""Results of trainings elsewhere: ``POST /runs/{command_id}/result``, signed, and what the command line reports.

A result is taken once. The same one again is no error; another one, or one after the end, is refused and changes
nothing, but the run's log says that it came.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from driftloop.events.decoding import UNDECODABLE
from driftloop.events.readable import unreadable
from driftloop.observability.logs import get_logger
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.errors import ArtifactError
from driftloop.registry.handovers import HandoverStore, Taken
from driftloop.registry.run_log import RunEntry
from driftloop.registry.runs import RunStore
from driftloop.training.artifacts import SUFFIX
from driftloop.training.handover.credentials import CredentialsError, Keyring
from driftloop.training.handover.messages import Artifact, Request, Result, encode
from driftloop.training.handover.signature import refusal, untimely

__all__ = ["MOST_BODY_BYTES", "RESULT_PATH", "ResultRefused", "Results", "take_result"]

log = get_logger(__name__)

#: A model file in a request has a third less, being base64; larger ones go through the artifact store.
MOST_BODY_BYTES = 16 * 2**20
RESULT_PATH = re.compile(r"/runs/(?P<command>[A-Za-z0-9_.:-]{1,64})/result")

Answer = tuple[HTTPStatus, dict[str, object]]
_NO_SUCH_PATH: Answer = HTTPStatus.NOT_FOUND, {"error": "no such path: POST /runs/COMMAND_ID/result"}


class ResultRefused(ValueError):
    """The result is not one that can be taken. The message is the reason."""


def take_result(store: HandoverStore, runs: RunStore, files: ArtifactStore, result: Result, now: float) -> Taken:
    """Take the result of a handover, its model file into the artifact store. ``now``: seconds since 1970.

    Raises :class:`ResultRefused` if a model is missing or its file is not the one it should be, and ``OSError`` or
    :class:`~driftloop.registry.errors.ArtifactError` if the artifact store is away or does not take the file.
    """
    handover = store.get(result.command_id)
    if handover is None:
        return "unknown"
    kept = _kept(files, result, write=handover.state != "ended")
    taken = store.end(result.command_id, encode(kept))
    if taken == "ended":
        what = "succeeded" if result.status == "succeeded" else f"failed: {result.reason}"
        said = f"a result came that was not taken, because the run had one or had ended: {what}"
        if kept.artifact is not None:
            said += f" (model file {kept.artifact.sha256})"
        if store.came_late(result.command_id, said):
            run = runs.get(result.command_id)
            attempt = 1 if run is None else run.attempts
            runs.log.add(result.command_id, [RunEntry(attempt=attempt, kind="line", at=now, text=said)])
    return taken


def _kept(files: ArtifactStore, result: Result, *, write: bool) -> Result:
    """The result with its file in the store. A result after the end writes nothing there."""
    artifact = result.artifact
    if result.status == "failed":
        if not result.reason.strip():
            raise ResultRefused("a result 'failed' needs a 'reason'")
        if artifact is not None:
            raise ResultRefused("a result 'failed' has no 'artifact'")
        return result
    if artifact is None or (artifact.uri is None) == (artifact.content is None):
        raise ResultRefused("a result 'succeeded' needs an 'artifact' with 'sha256', and 'uri' or 'content'")
    if artifact.content is not None:
        found = hashlib.sha256(artifact.content).hexdigest()
        if found != artifact.sha256:
            raise ResultRefused(f"the content has the SHA-256 {found}, and 'sha256' says {artifact.sha256}")
        uri = f"{found[:2]}/{found}{SUFFIX}"
        if write:
            uri = files.put_bytes(artifact.content, SUFFIX).uri
    else:
        uri = str(artifact.uri)
        if uri != f"{artifact.sha256[:2]}/{artifact.sha256}{SUFFIX}":
            raise ResultRefused(
                "'uri' is the file's name in the artifact store: the first two digits of 'sha256', a slash, all of "
                f"them, and {SUFFIX}"
            )
        if write:
            try:
                files.check(uri)
            except ArtifactError as error:
                raise ResultRefused(str(error)) from error
    return msgspec.structs.replace(result, artifact=Artifact(sha256=artifact.sha256, uri=uri))


class Results:
    """Answers requests. ``publish`` lets the trainer go on with the run soon."""

    def __init__(
        self,
        store: HandoverStore,
        runs: RunStore,
        files: ArtifactStore,
        keyring: Keyring,
        publish: Callable[[], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._runs = runs
        self._files = files
        self._keyring = keyring
        self._publish = publish
        self._clock = clock

    def admit(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Refuses what no body makes acceptable, None for the rest: strangers are not to keep the trainer reading."""
        if RESULT_PATH.fullmatch(path) is None:
            return _NO_SUCH_PATH
        problem = untimely({name.lower(): value for name, value in headers.items()}, self._clock())
        return None if problem is None else (HTTPStatus.UNAUTHORIZED, {"error": problem})

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Status and JSON content for one request. Says nothing about runs to who has no key."""
        match = RESULT_PATH.fullmatch(path)
        if match is None:
            return _NO_SUCH_PATH
        try:
            return self._answer(match["command"], {name.lower(): value for name, value in headers.items()}, body)
        except SQLAlchemyError as error:
            log.error("the database did not answer a request", path=path, exc_info=error)
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database does not answer; send the result again"}
        except (ArtifactError, OSError) as error:
            log.error("a result was not taken", path=path, exc_info=error)
            said = "the artifact store does not answer or does not take the file; send the result again"
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": said}

    def _answer(self, command_id: str, headers: Mapping[str, str], body: bytes) -> Answer:
        refused = self._refusal(command_id, headers, body)
        if refused is not None:
            return refused
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "the body must be application/json"}
        try:
            if problem := unreadable(body):
                return HTTPStatus.BAD_REQUEST, {"error": f"the body is not what is wanted: {problem}"}
            result = msgspec.json.decode(body, type=Result)
        except UNDECODABLE as error:
            return HTTPStatus.BAD_REQUEST, {"error": f"the body is not what is wanted: {error}"}
        if result.command_id != command_id:
            return HTTPStatus.NOT_FOUND, {"error": "the body is about another command_id than the path"}
        if result.by == "driftloop":
            return HTTPStatus.BAD_REQUEST, {"error": "'by' names who trained"}
        try:
            taken = take_result(self._store, self._runs, self._files, result, self._clock())
        except ResultRefused as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        if taken == "unknown":
            return HTTPStatus.NOT_FOUND, {"error": "no training with this command_id was handed over"}
        if taken == "ended":
            return HTTPStatus.CONFLICT, {"error": "the run has ended, or has another result; this one was not taken"}
        log.info("result of a handed over training", command_id=command_id, status=result.status, taken=taken)
        self._publish()
        return (HTTPStatus.ACCEPTED if taken == "taken" else HTTPStatus.OK), {"command_id": command_id, "result": taken}

    def _refusal(self, command_id: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        handover = self._store.get(command_id)
        try:
            if handover is None:
                keys = list(self._keyring.keys())
            else:
                key = self._keyring.named(msgspec.json.decode(handover.request, type=Request).credentials).key
                keys = [] if key is None else [key]
        except CredentialsError as error:
            log.error("a result cannot be checked", command_id=command_id, error=str(error))
            keys = []
        if not keys:
            return HTTPStatus.FORBIDDEN, {
                "error": "results are not taken here: there is no DRIFTLOOP_HANDOVER_KEY to check them with"
            }
        problems = [refusal(key, headers, body, self._clock()) for key in keys]
        if None in problems:
            return None
        return HTTPStatus.UNAUTHORIZED, {"error": str(problems[0])}
