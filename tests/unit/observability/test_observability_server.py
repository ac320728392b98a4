from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from driftloop.observability import Heartbeat, Metrics, serve


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def raises() -> str | None:
    raise ConnectionError("no route")


def test_paths() -> None:
    metrics = Metrics()
    metrics.predictions("m", 3)
    with serve(metrics.registry, "127.0.0.1", 0, {"broker": lambda: None}) as server:
        status, content_type, text = get(f"{server.url}/metrics")
        assert (status, content_type.split(";")[0]) == (200, "text/plain")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert families["driftloop_predictions"].samples[0].value == 3
        assert "process_cpu_seconds" in families
        status, _, text = get(f"{server.url}/version")
        assert status == 200
        assert json.loads(text)["version"]
        assert get(f"{server.url}/readyz?verbose=1")[0] == 200
        assert get(f"{server.url}/livez")[0] == 200
        assert get(f"{server.url}/nothing")[0] == 404
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{server.url}/metrics", method="POST", data=b""), timeout=5)
        assert refused.value.code == 405


def test_openmetrics_is_spoken_to_those_who_ask() -> None:
    with serve(Metrics().registry, "127.0.0.1", 0, {}) as server:
        request = urllib.request.Request(
            f"{server.url}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            assert response.read().endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("check", "sentence"),
    [(lambda: "no partition assigned", "no partition assigned"), (raises, "ConnectionError: no route")],
)
def test_a_failed_check_is_named_and_does_not_touch_liveness(check: Callable[[], str | None], sentence: str) -> None:
    with serve(Metrics().registry, "127.0.0.1", 0, {"broker": lambda: None, "assigned": check}) as server:
        status, _, text = get(f"{server.url}/readyz")
        assert status == 503
        assert json.loads(text) == {"status": "unavailable", "checks": {"broker": "ok", "assigned": sentence}}
        assert get(f"{server.url}/livez")[0] == 200


def test_a_loop_that_does_not_beat_is_not_alive() -> None:
    now = [0.0]
    heartbeat = Heartbeat(10.0, clock=lambda: now[0])
    with serve(Metrics().registry, "127.0.0.1", 0, {}, liveness={"loop": heartbeat}) as server:
        now[0] = 9.0
        assert get(f"{server.url}/livez")[0] == 200
        now[0] = 21.0
        status, _, text = get(f"{server.url}/livez")
        assert status == 503
        assert "no heartbeat for 21.0 s, expected one every 10 s" in text
        heartbeat.beat()
        assert get(f"{server.url}/livez")[0] == 200


def test_a_port_that_is_taken_says_what_to_do() -> None:
    with (
        serve(Metrics().registry, "127.0.0.1", 0, {}) as first,
        pytest.raises(OSError, match=rf"127.0.0.1:{first.port} .*DRIFTLOOP_METRICS_PORT"),
    ):
        serve(Metrics().registry, "127.0.0.1", first.port, {})


def test_a_closed_server_frees_its_port() -> None:
    with serve(Metrics().registry, "127.0.0.1", 0, {}) as first:
        get(f"{first.url}/livez")
    with serve(Metrics().registry, "127.0.0.1", first.port, {}) as second:
        assert get(f"{second.url}/livez")[0] == 200
