from __future__ import annotations

import io

from rich.console import Console

from driftloop.cli._gates import print_gates
from driftloop.events.decisions import GateDetail, GateResult
from driftloop.registry.rows import VersionRow

OLD = GateResult(gate="sanity", passed=True, value=3.0, bound=2.0, sentence="3 [distinct]")
SLICES = GateResult(
    gate="slices:roc_auc",
    passed=False,
    value=-0.12,
    bound=-0.02,
    low=-0.2,
    high=-0.04,
    sentence="worst is colour=red",
    verdict="failed",
    details=[
        GateDetail(
            name="colour=red", verdict="failed", value=-0.12, bound=-0.02, low=-0.2, high=-0.04, rows=1412,
            challenger=0.6, champion=0.72, note="corrected p = 0.001",
        ),
        GateDetail(name="colour=(missing)", verdict="insufficient", rows=7, note="100 rows are needed"),
        GateDetail(name="silent", verdict="passed"),
    ],
)  # fmt: skip
FEW = GateResult(
    gate="calibration", passed=True, value=None, bound=None, sentence="20 holdout rows", verdict="insufficient"
)


def shown(versions: list[VersionRow], width: int = 150, chosen: str | None = None) -> list[str]:
    output = io.StringIO()
    print_gates(Console(file=output, width=width, color_system=None), versions, chosen)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def row(version: str, *gates: GateResult) -> VersionRow:
    return VersionRow(
        model_id="m", version=version, sequence=1, status="registered", artifact=None, profile_sha256="", lineage={},
        metrics={}, gates=list(gates), command_id=None, trained_from_ms=0, trained_to_ms=1, event_time_ms=1,
    )  # fmt: skip


def test_the_newest_version_is_told_in_full() -> None:
    lines = shown([row("v1", OLD), row("v2", OLD, SLICES, FEW), row("v3")])
    assert lines[0] == "v1 sanity passed: 3 [distinct]"
    assert "gates of v2" in lines
    text = "\n".join(lines)
    assert "insufficient (let pass)" in text
    red = next(line for line in lines if "colour=red  " in line)
    assert red.split() == [
        "colour=red", "failed", "-0.12", "-0.2", "to", "-0.04", "-0.02", "1,412", "0.6", "0.72", "corrected", "p", "=",
        "0.001",
    ]  # fmt: skip
    assert any("colour=(missing)" in line and "100 rows are needed" in line for line in lines)
    assert "silent" not in text
    chosen = "\n".join(shown([row("v1", OLD), row("v2", SLICES)], chosen="v1"))
    assert "gates of v1" in chosen
    assert "colour=(missing)" not in chosen


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    lines = shown([row("v2", SLICES)], width=80)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "-0.2 to -0.04" in text
    assert "colour=(missing): 100" in text
    assert "…" not in text


def test_long_lists_are_cut_and_said() -> None:
    details = [GateDetail(name=f"c={index}", verdict="passed", value=0.0) for index in range(40)]
    gate = GateResult(gate="slices", passed=True, value=0.0, bound=0.0, sentence="fine", details=details)
    assert "  and 15 more, see --json" in shown([row("v1", gate)])


def test_versions_without_gates_print_nothing() -> None:
    assert shown([row("v1")]) == []
