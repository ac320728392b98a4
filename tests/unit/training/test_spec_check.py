"""Looking at what specs train never ends or holds up who looks, whatever modules do."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import driftloop
from driftloop.spec import parse_spec
from driftloop.spec.model import ModelSpec
from driftloop.training import spec_check
from driftloop.training.spec_check import CheckLimits, check_specs

MODULES = {
    "good_mod": "def f(*, frame, labels, weights, parameters, seed): ...",
    "slow_mod": "import time\nprint('waiting')\ntime.sleep(600)",
    "ends_mod": "import sys\nsys.exit(3)",
    "hard_mod": "import os\nprint('good bye')\nos.system('true')\nos._exit(7)",
    "late_mod": "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\ndef f(**given): ...",
}


def spec_of(estimator: str) -> ModelSpec:
    training = f"training: {{estimator: '{estimator}'}}"
    return parse_spec(f"model: m\ntask: binary\nfeatures: {{x: {{kind: numeric}}}}\n{training}")


def test_one_module_that_misbehaves_hides_nothing_about_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(driftloop.__file__).parents[1])]))
    names = [*(f"{name}:f" for name in MODULES), "good_mod:g"]
    began = time.monotonic()
    found = check_specs([spec_of(name) for name in names], limits=CheckLimits(spec_s=2.0))
    assert time.monotonic() - began < 100
    texts = {name: [problem.text for problem in problems] for name, problems in zip(names, found, strict=True)}
    assert texts["good_mod:f"] == texts["late_mod:f"] == []
    assert "it took longer than 2 s" in texts["slow_mod:f"][0]
    assert "ended with SystemExit: 3" in texts["ends_mod:f"][0]
    assert "the process that looked at it ended with code 7; the last it said: good bye" in texts["hard_mod:f"][0]
    assert "has no function 'g'" in texts["good_mod:g"][0]
    assert all(problem.key == ("training", "estimator") and problem.fatal for one in found for problem in one)


def test_without_a_process_or_time_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [spec_of("a:f"), spec_of("sklearn.linear_model.LogisticRegression")]
    found = check_specs(specs, limits=CheckLimits(all_s=0.0))
    assert [problems[0].text for problems in found] == ["not looked at within the 0 s for all specs"] * 2

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(spec_check.subprocess, "Popen", refuse)
    found = check_specs(specs)
    assert all("no process can be started: no more processes" in problems[0].text for problems in found)


def test_a_process_that_cannot_begin_is_told_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = check_specs([spec_of("a:f"), spec_of("b:f")])
    assert [problem.text for problems in found for problem in problems] == [
        "this could not be looked at: the process that looked at it ended with code 1"
    ] * 2
