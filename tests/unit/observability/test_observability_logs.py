from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from driftloop.observability import configure_logs, get_logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line_from_us_and_from_others() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    with structlog.contextvars.bound_contextvars(worker="w1"):
        get_logger("driftloop.monitor").info("window closed", model="flights-late", rows=812)
    logging.getLogger("faust.app").warning("lost %s\npartitions", 3, extra={"topic": "t"})
    get_logger("driftloop.monitor").debug("not shown")
    ours, theirs = lines(stream)
    assert list(ours)[:4] == ["ts", "level", "logger", "event"]
    assert ours["ts"].endswith("Z")
    assert (ours["logger"], ours["event"], ours["model"], ours["rows"]) == (
        "driftloop.monitor",
        "window closed",
        "flights-late",
        812,
    )
    assert ours["worker"] == "w1"
    assert (theirs["level"], theirs["event"], theirs["topic"]) == ("warning", "lost 3\npartitions", "t")


def test_secrets_are_masked_also_in_tracebacks() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    log = get_logger("x")
    log.info("connecting to postgresql://me:geheim@db:5432/driftloop", sasl_password="geheim")
    try:
        raise RuntimeError("cannot reach postgresql://me:geheim@db:5432/driftloop")
    except RuntimeError:
        log.exception("failed")
    assert "geheim" not in stream.getvalue()
    first, second = lines(stream)
    assert first["sasl_password"] == "***"
    assert "RuntimeError" in second["exception"]


def test_people_get_lines_and_no_colours_in_a_file() -> None:
    stream = io.StringIO()
    configure_logs("warning", "console", stream)
    get_logger("x").info("not shown")
    get_logger("x").warning("late labels", model="m")
    assert "late labels" in stream.getvalue()
    assert "model=m" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "not shown" not in stream.getvalue()


def test_calling_it_again_replaces_the_first_set_up() -> None:
    first, second = io.StringIO(), io.StringIO()
    log = get_logger("x")
    configure_logs("info", "json", first)
    log.info("one")
    configure_logs("info", "json", second)
    log.info("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["two"]
