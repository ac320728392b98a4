"""The demo's folder: cleared when a former demo left it, never under one that runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from driftloop.demo.run import DemoError, DemoOptions, _prepare_folder, run_demo


def test_a_former_demos_folder_is_cleared_and_one_in_use_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with _prepare_folder(folder):
        (folder / "driftloop.db").touch()
        with pytest.raises(DemoError, match="another demo still runs"):
            run_demo(DemoOptions(folder=folder, cache=tmp_path), Console())
        assert (folder / "driftloop.db").exists()
    with _prepare_folder(folder):
        assert not (folder / "driftloop.db").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(DemoError, match="was not made by the demo"):
        _prepare_folder(tmp_path)
    assert (tmp_path / "notes").exists()
