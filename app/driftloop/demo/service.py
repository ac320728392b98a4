"""The production service: predicts at departure, tells what came of it at arrival, swaps its model while it runs.

A process of its own (``python -m driftloop.demo.service``), as an airline's would be: it knows driftloop only by
``driftloop.client`` and the model files. Writes what it does as JSON lines to standard output.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.client import ModelSubscriber, Publisher
from driftloop.demo.flights import load_flights
from driftloop.demo.pace import Pace, ReportHead
from driftloop.demo.summary import DemoResult, ModelResult, MonthResult, Swap, compare_months
from driftloop.demo.timeline import Chunk, FeatureTexts, Timeline
from driftloop.events.decisions import ModelEvent, RetrainCommand
from driftloop.events.time import parse_time
from driftloop.kafka.config import client_config
from driftloop.kafka.tail_reader import TailReader
from driftloop.registry.artifacts import ArtifactStore
from driftloop.settings import Settings
from driftloop.spec.load import load_specs
from driftloop.spec.model import ModelSpec
from driftloop.training.artifacts import load
from driftloop.training.estimators import predict

__all__ = ["ProductionService", "main"]

DAY_MS = 86_400_000
#: Flights are scored in blocks: a call costs milliseconds, a row almost nothing.
_BLOCK_ROWS = 2048
_PROGRESS_S = 0.25
_POLL_S = 0.02
#: A retrain that takes longer than this (wall time) is no longer waited for.
_PATIENCE_S = 300.0
#: At the end the loop gets so long to judge the last windows.
_LAST_WINDOWS_S = 30.0


@dataclass
class ServedModel:
    """A model in production: the version that serves, and what it and the frozen first version said (NaN: nothing)."""

    spec: ModelSpec
    version: str
    pipeline: Pipeline
    truth: NDArray[np.float64]
    frozen: NDArray[np.float64]
    closed: NDArray[np.float64]
    label_texts: list[Raw]
    swaps: list[Swap] = field(default_factory=list)
    scored: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    scored_from: int = 0


class ProductionService:
    """Runs the timeline once. :meth:`stop` may be called from a signal handler."""

    def __init__(self, settings: Settings, timeline: Timeline, *, ahead_ms: int, speed: float | None) -> None:
        """``speed``: event time runs so many times faster than the wall's; None: as fast as the machine allows."""
        self._timeline = timeline
        self._speed = speed
        config = client_config(settings)
        self._store = ArtifactStore(settings.resolved_artifacts)
        self._publisher = Publisher(config, settings.topic_prefix)
        self._events = ModelSubscriber(config, topic_prefix=settings.topic_prefix)
        topics = settings.topics
        self._loop = TailReader(config, [topics.window_reports, topics.retrain_commands])
        self._commands_topic = topics.retrain_commands
        self._report = msgspec.json.Decoder(ReportHead)
        self._command = msgspec.json.Decoder(RetrainCommand)
        self._texts = FeatureTexts(timeline.frame)
        self._models = {spec.model: self._first(spec) for spec in load_specs(settings.specs).values()}
        self._pace = Pace(self._models, timeline.from_ms, ahead_ms)
        self._clock_ms = timeline.from_ms
        self._predictions = 0
        self._labels = 0
        self._stopping = False
        self._reported_s = 0.0

    def stop(self) -> None:
        """End after the present hour."""
        self._stopping = True

    def run(self) -> DemoResult:
        """Publish everything, in event-time order over both topics, and compare."""
        began_s, held_s = time.monotonic(), 0.0
        for chunk in self._timeline.chunks():
            held_s += self._hold(chunk.start_ms)
            if self._speed is not None:
                due_s = began_s + held_s + (chunk.start_ms - self._timeline.from_ms) / 1000 / self._speed
                while not self._stopping and (left_s := due_s - time.monotonic()) > 0:
                    self._listen(min(left_s, 0.1))
                    self._tell(None)
            if self._stopping:
                break
            self._publish(chunk)
            self._clock_ms = chunk.end_ms
            self._listen(0)
            self._tell(None)
        self._publisher.flush()
        complete = not self._stopping
        if complete:
            self._wait_for_the_last_windows()
        self._tell(None, at_once=True)
        return self._result(complete)

    def close(self) -> None:
        self._publisher.close()
        self._events.close()
        self._loop.close()

    def _first(self, spec: ModelSpec) -> ServedModel:
        event = self._events.current(spec.model)
        if event is None:
            raise RuntimeError(
                f"{spec.model} has no champion yet: register its first version before the service starts"
            )
        pipeline = self._load(event)
        frame = self._timeline.frame
        delay = frame["arr_delay"].to_numpy(np.float64)
        if spec.task == "binary":
            late = frame["late"].to_numpy(np.int8)
            truth = np.where(late >= 0, late, np.nan).astype(np.float64)
            texts = [Raw(b"true") if value == 1 else Raw(b"false") for value in late.tolist()]
        else:
            truth = delay
            texts = [Raw(json.dumps(value).encode()) if value == value else Raw(b"null") for value in delay.tolist()]
        return ServedModel(
            spec=spec,
            version=event.model_version,
            pipeline=pipeline,
            truth=truth,
            frozen=predict(pipeline, spec, frame).round(6),
            closed=np.full(len(frame), np.nan),
            label_texts=texts,
            swaps=[Swap(model_id=spec.model, version=event.model_version, clock_ms=self._timeline.from_ms)],
        )

    def _load(self, event: ModelEvent) -> Pipeline:
        if event.artifact is None:
            raise RuntimeError(f"version {event.model_version} of {event.model_id} has no model file to load")
        # The store checks the content against the digest in the name.
        return load(self._store.read(event.artifact), sha256=event.artifact_sha256)

    def _publish(self, chunk: Chunk) -> None:
        frame = self._timeline.frame
        ids = frame["flight_id"].iloc[chunk.flights].tolist()
        send_prediction, send_label = self._publisher.prediction, self._publisher.label
        departed = chunk.flights[~chunk.arrivals]
        served = [(name, model, self._scores(model, departed)) for name, model in self._models.items()]
        rows, arrivals, times = chunk.flights.tolist(), chunk.arrivals.tolist(), chunk.times_ms.tolist()
        for row, arrival, time_ms, flight in zip(rows, arrivals, times, ids, strict=True):
            for name, model, scores in served:
                key = f"{name}:{flight}"
                if arrival:
                    send_label(name, key, model.label_texts[row], event_time_ms=time_ms)
                else:
                    said = Raw(repr(scores[row]).encode())
                    send_prediction(
                        name, model.version, self._texts[row], said, prediction_id=key, event_time_ms=time_ms
                    )
        self._predictions += len(departed) * len(served)
        self._labels += (len(rows) - len(departed)) * len(served)

    def _scores(self, model: ServedModel, rows: NDArray[np.int64]) -> dict[int, float]:
        """What the serving version says about flights, which are consecutive rows; remembered for the comparison."""
        if not len(rows):
            return {}
        first, last = int(rows[0]), int(rows[-1])
        if len(model.swaps) == 1:
            values = model.frozen[rows]
        else:
            if last >= model.scored_from + len(model.scored):
                block = self._timeline.frame.iloc[first : max(last + 1, first + _BLOCK_ROWS)]
                model.scored, model.scored_from = predict(model.pipeline, model.spec, block).round(6), first
            values = model.scored[rows - model.scored_from]
        model.closed[rows] = values
        return dict(zip(rows.tolist(), values.tolist(), strict=True))

    def _listen(self, timeout_s: float) -> None:
        """Hear what the loop says: windows that are final, commands, new versions."""
        for record in self._loop.poll(timeout_s):
            if record.value is None:
                continue
            if record.topic == self._commands_topic:
                self._pace.observe_command(self._command.decode(record.value))
            else:
                self._pace.observe_report(self._report.decode(record.value))
        for event in self._events.poll(0):
            self._pace.observe_model_event(event)
            model = self._models.get(event.model_id)
            if event.kind in ("promoted", "rolled_back") and model and event.model_version != model.version:
                self._swap(model, event)

    def _swap(self, model: ServedModel, event: ModelEvent) -> None:
        model.pipeline = self._load(event)
        model.version = event.model_version
        model.scored = np.empty(0)
        swap = Swap(model_id=event.model_id, version=event.model_version, clock_ms=self._clock_ms)
        model.swaps.append(swap)
        say("swap", msgspec.to_builtins(swap))

    def _hold(self, clock_ms: int) -> float:
        """Wait while the clock must stand still; returns for how many seconds it did."""
        began_s = time.monotonic()
        while not self._stopping and (reason := self._pace.hold(clock_ms)):
            self._publisher.flush()
            self._listen(_POLL_S)
            self._tell(reason)
            if time.monotonic() - began_s > _PATIENCE_S and self._pace.training:
                for command in self._pace.training:
                    self._pace.give_up_on(command.command_id)
                    say(
                        "note",
                        {"text": f"no answer to {command.trigger} retrain of {command.model_id}; the clock goes on"},
                    )
        return time.monotonic() - began_s

    def _wait_for_the_last_windows(self) -> None:
        """The last windows that can become final: later ones wait for departures that never come."""
        horizons = [model.spec.label_horizon_ms + model.spec.allowed_lateness_ms for model in self._models.values()]
        target_ms = (self._timeline.last_departure_ms - max(horizons)) // DAY_MS * DAY_MS
        deadline_s = time.monotonic() + _LAST_WINDOWS_S
        while not self._stopping:
            waiting = self._pace.slowest_ms < target_ms and time.monotonic() < deadline_s
            reason = self._pace.hold(self._timeline.from_ms)
            if not waiting and reason is None:
                return
            self._listen(_POLL_S)
            self._tell(reason or "all is published; the last windows are judged")
            if time.monotonic() > deadline_s + _PATIENCE_S:
                return

    def _tell(self, holding: str | None, *, at_once: bool = False) -> None:
        now_s = time.monotonic()
        if not at_once and now_s - self._reported_s < _PROGRESS_S:
            return
        self._reported_s = now_s
        progress = {"clock_ms": self._clock_ms, "predictions": self._predictions, "labels": self._labels}
        say("progress", {**progress, "final_ms": self._pace.slowest_ms, "holding": holding})

    def _result(self, complete: bool) -> DemoResult:
        times_ms = self._timeline.frame["departure_ms"].to_numpy(np.int64)
        results = []
        for name, model in self._models.items():
            metric, months, total = compare_months(model.spec.task, times_ms, model.truth, model.closed, model.frozen)
            nothing = MonthResult(month="all", rows=0, closed=float("nan"), frozen=float("nan"), better=False)
            result = ModelResult(
                model_id=name, metric=metric, months=months, total=total or nothing, versions=model.swaps
            )
            results.append(result)
        return DemoResult(
            complete=complete,
            predictions=self._predictions,
            labels=self._labels,
            from_ms=self._timeline.from_ms,
            clock_ms=self._clock_ms,
            models=results,
        )


def say(kind: str, content: dict[str, Any]) -> None:
    """One JSON line on standard output, at once."""
    sys.stdout.write(json.dumps({"type": kind, **content}) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the process. Settings come from the environment, as for every other service."""
    parser = argparse.ArgumentParser(prog="python -m driftloop.demo.service", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the flights' archive")
    parser.add_argument("--from", dest="start", type=parse_time, required=True, help="first departure, e.g. 2013-02-01")
    parser.add_argument("--to", dest="stop", type=parse_time, required=True, help="departures before this")
    parser.add_argument(
        "--ahead", type=float, default=5.0, help="event days ahead of the slowest final window, at most"
    )
    parser.add_argument("--speed", type=float, default=None, help="event seconds per second (default: no limit)")
    parser.add_argument("--result", type=Path, required=True, help="file for the comparison (JSON)")
    options = parser.parse_args(arguments)
    timeline = Timeline(load_flights(options.cache), options.start, options.stop)
    service = ProductionService(Settings(), timeline, ahead_ms=round(options.ahead * DAY_MS), speed=options.speed)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    result = service.run()
    options.result.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    say("result", {"complete": result.complete})
    service.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
