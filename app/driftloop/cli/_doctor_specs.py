"""The part of ``driftloop doctor`` that is about model specs: can they be read, does every key have an effect, and can
what they train be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from driftloop.cli._finding import Finding
from driftloop.settings import Settings
from driftloop.spec.load import SpecError, SpecFile, read_specs
from driftloop.spec.problems import KeyPath
from driftloop.spec.unused_keys import trains
from driftloop.training.handover.credentials import CredentialsError, Keyring
from driftloop.training.spec_check import check_specs

__all__ = ["examine_specs"]

_SPECS, _TRAINING = "specs", "training"


def examine_specs(settings: Settings, *, trains_here: bool = True) -> list[Finding]:
    """``specs``: whether they can be read, and a warning for each key without effect. ``training``: every problem that
    would end a training, and a warning for each that it would survive."""
    try:
        files = read_specs(settings.specs)
    except SpecError as error:
        return [
            Finding(_SPECS, "failed", str(error)),
            Finding(_TRAINING, "skipped", "not checked, because the specs cannot be used"),
        ]
    names = ", ".join(file.spec.model for file in files)
    warnings = [Finding(_SPECS, "warning", str(problem)) for file in files for problem in file.warnings()]
    return [
        Finding(_SPECS, "ok", f"{len(files)} in {settings.specs}: {names}"),
        *warnings,
        *_training(settings, files, trains_here=trains_here),
    ]


def _training(settings: Settings, files: Sequence[SpecFile], *, trains_here: bool) -> list[Finding]:
    findings: list[Finding] = []
    made: list[SpecFile] = []
    for file in files:
        training = file.spec.training
        if not trains(file.spec):
            if file.spec.policy.triggers:
                text = (
                    "nothing is trained without training.estimator, training.river or training.handover, so every "
                    "command of a trigger ends as a failed run; name one of these, or leave the triggers out"
                )
                findings.append(_finding("failed", file, ("policy", "triggers"), text))
        elif training.handover is not None:
            findings += _handover(settings, file) if trains_here else []
        elif ":" in (training.estimator or "") and not trains_here:
            text = f"{training.estimator!r} is not looked at, because of --no-trainer"
            findings.append(_finding("skipped", file, ("training", "estimator"), text))
        else:
            made.append(file)
    # Nothing is started for specs that train nothing.
    found = check_specs([file.spec for file in made]) if made else []
    for file, problems in zip(made, found, strict=True):
        findings += [_finding("failed" if one.fatal else "warning", file, one.key, one.text) for one in problems]
    whole = [file.spec.model for file, problems in zip(made, found, strict=True) if not problems]
    if whole or not findings:
        text = f"{', '.join(whole)}: made as their specs say, without data" if whole else "no spec trains anything here"
        findings.insert(0, Finding(_TRAINING, "ok", text))
    return findings


def _handover(settings: Settings, file: SpecFile) -> list[Finding]:
    """Whether there is what a hand-over is signed or authorised with."""
    handover = file.spec.training.handover
    assert handover is not None, "the caller has looked"
    try:
        missing = Keyring(settings).named(handover.credentials).missing_for(handover.to)
    except (CredentialsError, OSError) as error:
        missing = str(error)
    if missing is None:
        return []
    text = f"it cannot be handed over: {missing}"
    return [_finding("failed", file, ("training", "handover"), text)]


def _finding(result: Literal["warning", "failed", "skipped"], file: SpecFile, key: KeyPath, text: str) -> Finding:
    return Finding(_TRAINING, result, f"model {file.spec.model}: {file.problem(key, text)}")
