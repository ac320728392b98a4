"""What the demo names to go on with: each command works as it is printed, in the folder where the demo was run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from driftloop.demo.summary import DemoResult
from driftloop.events.time import format_time

__all__ = ["print_next_steps"]


def print_next_steps(
    console: Console, result: DemoResult, folder: Path, *, held: bool, options: Sequence[str] = ()
) -> None:
    """``held``: the broker stays up, so the topics can be read. ``options``: those of the demo that has ended."""
    program = _program()
    where = f"in another terminal, in {Path.cwd()}" if held else f"in {Path.cwd()}"
    console.print(f"\n[bold]Where to look next[/] ({where})", highlight=False, soft_wrap=True)
    steps = [
        (f"set -a; . {shlex.quote(str(folder / 'env'))}; set +a", "this run's settings, for the commands below"),
        (f"{program} models list", "the models and their versions"),
        (f"{program} models show flights-late", "metrics, gates, history"),
        (f"{program} runs list", "the trainings; runs show ID: one with its log"),
        (f"{program} decisions flights-late", "why it was retrained, and why not"),
    ]
    if held:
        start, stop = format_time(result.from_ms)[:10], format_time(result.clock_ms)[:10]
        steps.append((f"{program} reports --model flights-late", "the window reports, from the topics"))
        steps.append((f"{program} replay --from {start} --to {stop}", "the same, made again from the logs"))
    else:
        again = shlex.join(["demo", *options, "--hold"])
        steps.append((f"{program} {again}", "anew, and the broker stays up, for reports and replay"))
    for command, meaning in steps:
        console.print(Text.assemble(f"  {command}  ", (f"# {meaning}", "dim")), soft_wrap=True)
    kept = f"  logs in {folder / 'logs'}, the numbers above in {folder / 'result.json'}"
    console.print(Text(kept, "dim"), soft_wrap=True)


def _program() -> str:
    """How this very driftloop is called: by its name if the path leads to it, else by where it lies."""
    script = Path(sys.executable).with_name("driftloop")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m driftloop"
    found = shutil.which("driftloop")
    if found is not None and os.path.samefile(found, script):
        return "driftloop"
    return shlex.quote(str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script))
