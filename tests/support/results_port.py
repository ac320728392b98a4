"""The trainer's port for results of trainings that were handed over, with commands that wait for one."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from pathlib import Path
from typing import Any

from driftloop.events.decisions import RetrainCommand
from driftloop.observability.server import ObservabilityServer
from driftloop.registry import ArtifactStore, RunStore, create_schema, open_engine
from driftloop.registry.handovers import HandoverStore
from driftloop.settings import Settings
from driftloop.training.handover.credentials import Keyring
from driftloop.training.handover.messages import GivenData, Request, decode_result, encode
from driftloop.training.handover.results import Results
from driftloop.training.handover.signature import key_of, signed_headers

__all__ = ["GIVEN", "ID", "KEY", "MODEL", "NOW", "RISK", "SHA", "Port"]

NOW = 1_700_000_000.0
KEY, RISK = "whsec_" + base64.b64encode(b"k" * 32).decode(), "whsec_" + base64.b64encode(b"r" * 32).decode()
ID = "c" * 64
MODEL = b"a model file"
SHA = hashlib.sha256(MODEL).hexdigest()
GIVEN = GivenData(uri="ab/c", sha256="c", size=1, rows=2, first_predicted_ms=0, last_predicted_ms=1, features=["x"])


class Port:
    """The trainer's port with one command that was handed over, ``ID``, and one whose key is another, ``risk``."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.engine = open_engine(settings.resolved_database_url)
        create_schema(self.engine)
        self.runs, self.store = RunStore(self.engine), HandoverStore(self.engine)
        self.files = ArtifactStore(settings.resolved_artifacts)
        self.now, self.told = NOW, 0
        for command_id, credentials in ((ID, None), ("risk", "risk")):
            command = RetrainCommand(
                command_id=command_id, model_id="m", champion_version="v1", trigger="t", reason="r", window_end_ms=1,
                from_ms=0, to_ms=1,
            )  # fmt: skip
            self.runs.lease(command, "trainer", 10.0, NOW)
            request = Request(
                to="webhook", url="http://x/y", dataset={}, given=GIVEN, spec_digest="", credentials=credentials
            )
            self.store.begin(
                command_id, request=encode(request), body=b"{}", timeout_ms=10_000, retry_for_ms=10_000, waiting="w",
                now=NOW,
            )  # fmt: skip
        self.results = Results(
            self.store, self.runs, self.files, Keyring(settings), self.published, clock=lambda: self.now
        )
        self.server: ObservabilityServer | None = None

    def published(self) -> None:
        self.told += 1

    def post(
        self, content: Any, *, command: str = ID, key: str | None = KEY, path: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        signed = {} if key is None else signed_headers(key_of(key), "msg_1", int(NOW), body)
        assert self.server is not None
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        sent = {"Content-Type": "application/json", **signed, **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection.request("POST", path or f"/runs/{command}/result", body, sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def kept(self, command: str = ID) -> Any:
        found = self.store.get(command)
        assert found is not None
        return None if found.result is None else decode_result(found.result)
