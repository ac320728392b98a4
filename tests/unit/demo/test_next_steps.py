"""The commands that the demo ends with are such that they can be copied."""

from __future__ import annotations

import os
import shlex
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from driftloop.demo import CACHE, FOLDER
from driftloop.demo.next_steps import print_next_steps
from driftloop.demo.run import DemoOptions
from driftloop.demo.summary import DemoResult
from driftloop.events.time import parse_time

OURS = Path(sys.executable).with_name("driftloop")
RESULT = DemoResult(
    complete=True,
    predictions=2,
    labels=2,
    from_ms=parse_time("2013-02-01"),
    clock_ms=parse_time("2013-03-24"),
    models=[],
)


def commands(folder: Path, *, held: bool = False, options: DemoOptions | None = None) -> list[list[str]]:
    out = StringIO()
    print_next_steps(
        Console(file=out, width=40), RESULT, folder, held=held, options=options.arguments() if options else ()
    )
    lines = [line for line in out.getvalue().splitlines() if "  # " in line]
    return [shlex.split(line.partition("  # ")[0]) for line in lines]


@pytest.mark.skipif(not OURS.exists(), reason="driftloop is not installed here")
def test_the_program_is_the_one_that_runs_however_the_path_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "bin" / "driftloop"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    for path, program in (
        ("", str(OURS)),
        (str(other.parent), str(OURS)),
        (f"{OURS.parent}{os.pathsep}{other.parent}", "driftloop"),
    ):
        monkeypatch.setenv("PATH", path)
        monkeypatch.chdir(tmp_path)
        assert {command[0] for command in commands(Path("demo"))[1:]} == {program}
    monkeypatch.chdir(OURS.parents[2])
    monkeypatch.setenv("PATH", "")
    assert {command[0] for command in commands(Path("demo"))[1:]} == {"/".join(OURS.parts[-3:])}


@pytest.mark.parametrize("held", [False, True])
def test_every_command_is_whole_on_its_line(held: bool, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    options = DemoOptions(folder=folder, cache=CACHE, quick=True)
    found = commands(folder, held=held, options=options)
    assert found[0] == ["set", "-a;", ".", f"{folder}/env;", "set", "+a"]
    assert ["models", "show", "flights-late"] in [command[1:] for command in found]
    last = found[-1][1:]
    if held:
        assert last == ["replay", "--from", "2013-02-01", "--to", "2013-03-24"]
    else:
        assert last == ["demo", "--quick", "--keep", str(folder), "--hold"]
    assert DemoOptions(folder=FOLDER, cache=CACHE).arguments() == []
