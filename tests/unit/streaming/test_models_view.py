"""What an assessor process shows of the models that it owns."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from driftloop.kafka.log_reader import Record
from driftloop.observability.metrics import Metrics
from driftloop.settings import Settings
from driftloop.streaming.models_view import ModelsView
from support.events import model_event


def test_aliases_are_what_the_registry_says_whatever_the_event() -> None:
    """A challenger that is refused may leave the alias to an older one that is still compared: no event says so."""
    aliases: dict[str, str | None] = {"champion": "v1", "challenger": "v3"}

    class Store:
        def champion(self, model_id: str) -> SimpleNamespace:
            return SimpleNamespace(version=aliases["champion"])

        def challenger(self, model_id: str) -> SimpleNamespace:
            return SimpleNamespace(version=aliases["challenger"])

        def open_alerts(self, model_id: str) -> list[object]:
            return []

    class Tail:
        def poll(self, timeout_s: float) -> list[Record]:
            return [Record(0, 0, 0, None, msgspec.json.encode(model_event("rejected", "v3", model="m")), [])]

    def shown() -> set[tuple[str, str]]:
        return {
            (sample.labels["alias"], sample.labels["version"])
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "driftloop_model_info"
        }

    metrics = Metrics()
    view = ModelsView(Settings(), Store(), Store(), metrics)  # type: ignore[arg-type]
    view.take_over(["m"])
    assert shown() == {("champion", "v1"), ("challenger", "v3")}
    view._tail = Tail()  # type: ignore[assignment]
    aliases["challenger"] = "v2"
    view.refresh()
    assert shown() == {("champion", "v1"), ("challenger", "v2")}
