"""A real Prometheus for tests: started on a free port with a scrape configuration, asked over its HTTP API."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

__all__ = ["PrometheusServer", "require_program"]


def require_program(name: str) -> str:
    """Path of ``prometheus`` or ``promtool``. Without it the test is skipped, and fails where CI=true."""
    path = shutil.which(name)
    if path is not None:
        return path
    message = f"{name} is not installed: apt-get install prometheus"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(f"NOT TESTED: {message}")


class PrometheusServer:
    """Prometheus scraping ``targets`` (job to host:port), with the given rule files, in a folder of its own."""

    def __init__(
        self, folder: Path, targets: Mapping[str, str], *, rules: Sequence[Path] = (), interval_s: int = 1
    ) -> None:
        self._program = require_program("prometheus")
        self._folder = folder
        self._log = folder / "prometheus.log"
        config = {
            "global": {
                "scrape_interval": f"{interval_s}s",
                "scrape_timeout": f"{interval_s}s",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        # Another process may take the free port before Prometheus does: then it ends at once, and we take another.
        for _ in range(3):
            if self._start():
                return self
        raise AssertionError(f"Prometheus did not start; its log ends with:\n{self._tail()}")

    def _start(self) -> bool:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={address}",
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):
                    return True
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.1)
        self.close()
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Result of an instant query as a list of {metric, value}; a scalar comes as one of them.

        Raises ``AssertionError`` with Prometheus's own message if it refuses the query.
        """
        data = self._get("/api/v1/query", query=expression)
        if data["resultType"] in ("scalar", "string"):
            return [{"metric": {}, "value": data["result"]}]
        result: list[dict[str, Any]] = data["result"]
        return result

    def label_values(self, label: str, matcher: str) -> list[str]:
        """Values of a label among the series that match."""
        values: list[str] = self._get(f"/api/v1/label/{label}/values", **{"match[]": matcher})
        return values

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health, last error and, for alerts, state."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """Health (up, down, unknown) by job."""
        active = self._get("/api/v1/targets")["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in active}

    def wait_for(self, expression: str, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Ask until there is a result."""
        deadline = time.monotonic() + timeout_s
        while not (result := self.query(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"no result of {expression!r} after {timeout_s:g} s; targets: {self.targets()}")
            time.sleep(0.2)
        return result

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"Prometheus refuses {parameters or path}: {error.read().decode()}") from error
        assert answer["status"] == "success", answer
        return answer["data"]

    def _tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
