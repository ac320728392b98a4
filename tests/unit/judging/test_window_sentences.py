"""A window's one sentence: whole sentences, and the reason if nothing can be judged."""

from __future__ import annotations

import msgspec

from driftloop.judging.sentences import input_sentence, outcome_sentence
from driftloop.spec import parse_spec
from support.events import feature, outcome_report

SPEC = parse_spec("{model: m, task: binary, minimum_rows: 50, features: {temp: {kind: numeric}}}")


def test_a_reference_without_values_is_the_reason_and_not_the_rows() -> None:
    unknown = msgspec.structs.replace(feature("temp", None), sentence="the reference has no values of temp")
    assert input_sentence([unknown], 300, SPEC) == (
        "insufficient",
        "None of 1 features can be judged: the reference has no values of temp.",
    )
    assert input_sentence([unknown], 30, SPEC)[1] == "30 rows are too few to judge (at least 50 are needed)."


def test_what_is_added_to_a_sentence_begins_after_its_full_stop() -> None:
    drifting = msgspec.structs.replace(feature("temp", 1.3, drift=True), sentence="temp is higher")
    assert input_sentence([drifting], 300, SPEC) == ("drift", "1 of 1 features drifts: temp. temp is higher.")
    metric = outcome_report().metrics[0]
    dropped = msgspec.structs.replace(metric, decision="drift", sentence="roc_auc is worse")
    assert outcome_sentence([dropped], 20, 10)[1] == "roc_auc is worse. 10 of 20 predictions have their label."
    early = msgspec.structs.replace(metric, decision="insufficient", sentence="roc_auc@3: 1 of 3 windows are there")
    assert outcome_sentence([early], 20, 10) == (
        "insufficient",
        "No rule can decide: roc_auc@3: 1 of 3 windows are there. 10 of 20 predictions have their label.",
    )
