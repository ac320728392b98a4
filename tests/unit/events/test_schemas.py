"""The committed schemas are those of the code, and events as written fit them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from driftloop.events.schemas import documents
from driftloop.events.topics import Topics
from support import world
from support.events import alert, command, input_report, model_event, outcome_report

FOLDER = Path(__file__).resolve().parents[3] / "schemas"


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_committed_file_is_what_the_code_says(name: str) -> None:
    assert json.loads((FOLDER / name).read_text()) == documents()[name], "run scripts/schemas"


def test_no_schema_of_a_former_event_is_left() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(documents())


EXAMPLES = {
    "window-reports": [input_report("m", day=1), outcome_report("m", day=1)],
    "alerts": [alert("opened", model="m", alert_id="a")],
    "retrain-commands": [command("c", model="m")],
    "model-events": [model_event("promoted", "v2", model="m", command_id="c")],
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_events_fit_their_schema(name: str) -> None:
    validator = Draft202012Validator(documents()[f"{name}.json"])
    for event in EXAMPLES[name]:
        validator.validate(json.loads(msgspec.json.encode(event)))


@pytest.mark.parametrize("topic", ["predictions", "labels"])
def test_what_services_publish_fits_and_what_they_must_not_does_not(topic: str) -> None:
    validator = Draft202012Validator(documents()[f"{topic}.json"])
    values = [value for _, at, _, value in world.history(1, 20, faults=False) if at == topic and value]
    assert values
    for value in values:
        event = json.loads(value)
        validator.validate(event)
        validator.validate({**event, "a_field_of_tomorrow": 1})
        with pytest.raises(ValidationError):
            validator.validate({**event, "event_time_ms": "noon"})


def test_the_asyncapi_document_names_every_topic() -> None:
    channels = documents()["asyncapi.json"]["channels"]
    assert {channel["address"] for channel in channels.values()} == {plan.name for plan in Topics().plans()}
