"""What stands between a replay and the live run, found before they are compared: each is named, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.judging.alerts import UNAPPROVED
from driftloop.judging.approval import Approved, always_approved
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import end_offsets, partition_count, start_offsets
from driftloop.replay.obstacle import Obstacle, grouped, told
from driftloop.replay.registry_then import missing_profiles, other_approvals, registered_later
from driftloop.settings import Settings
from driftloop.streaming.made_by import Origin

__all__ = ["LogSpans", "Obstacle", "find_obstacles", "log_spans"]


@dataclass(frozen=True)
class LogSpans:
    """What the broker still has of the source topics: name, and for each partition the first and the next offset."""

    predictions: str
    labels: str
    offsets: Mapping[str, Mapping[int, tuple[int, int]]]


def log_spans(settings: Settings) -> LogSpans:
    """Ask the broker. Raises :class:`~driftloop.kafka.log_reader.LogReadError`."""
    config, topics = client_config(settings), settings.topics
    offsets: dict[str, dict[int, tuple[int, int]]] = {}
    for topic in (topics.predictions, topics.labels):
        partitions = range(partition_count(config, topic))
        starts, ends = start_offsets(config, topic, partitions), end_offsets(config, topic, partitions)
        offsets[topic] = {at: (starts[at], ends[at]) for at in partitions}
    return LogSpans(topics.predictions, topics.labels, offsets)


def find_obstacles(
    reports: Iterable[WindowReport],
    alerts: Iterable[Alert] = (),
    *,
    spans: LogSpans,
    has_profile: Callable[[str, str], bool],
    digests: Mapping[str, str],
    here: Origin,
    approved: Approved = always_approved,
    completed: Iterable[WindowReport] = (),
) -> list[Obstacle]:
    """Everything that keeps a replay from being equal to the live run that published these final reports and alerts.

    ``reports``, ``alerts``: all that decisions to be compared hang on, so from the first window on; ``digests``: model
    to its spec's digest now; ``here``: what replays, with its settings, and the logs that it reads; ``approved``: which
    versions may serve, by the registry now; ``completed``: restated reports with rows in time that the final ones lack.
    """
    reports = sorted(reports, key=lambda report: (report.window_end_ms, report.report_id))
    alerts = [alert for alert in alerts if alert.kind == UNAPPROVED and alert.state != "resolved"]
    return [
        *missing_profiles(reports, has_profile),
        *_other_partitions(reports, spans, here.source_partitions),
        *_removed_records(reports, spans),
        *_other_specs(reports, digests),
        *_other_logs(reports, spans, here.logs),
        *_other_settings(reports, here.limits),
        *registered_later(alerts, has_profile),
        *other_approvals(reports, alerts, approved),
        *_idle_partitions(completed),
        *_missing_evidence(reports),
        *_other_software(reports, here.made_by),
    ]


def _other_partitions(reports: list[WindowReport], spans: LogSpans, source_partitions: int) -> Iterator[Obstacle]:
    counts = {topic: len(offsets) for topic, offsets in spans.offsets.items()}
    for topic, count in counts.items():
        if count != source_partitions:
            yield Obstacle(
                "partitions",
                f"{topic} has {_partitions(count)}, DRIFTLOOP_SOURCE_PARTITIONS says {source_partitions}: set it to "
                "what the topics have, which must be the same for predictions and labels",
            )
    for at, those in grouped(reports, lambda report: max((s.partition for s in report.sources), default=-1)):
        if at >= min(counts.values()):
            yield Obstacle(
                "partitions",
                f"{told(those)} were made from source partition {at}, which the topics no longer have: they were made "
                f"anew with {_partitions(min(counts.values()))}",
            )
    for count, those in grouped(reports, lambda report: report.source_partitions):
        if count and count != source_partitions:
            yield Obstacle(
                "repartitioned",
                f"{told(those)} were made when there were {_partitions(count)}, now there are {source_partitions}: "
                "keys have moved, and the live run did not wait for partitions that were not there yet",
            )


def _removed_records(reports: list[WindowReport], spans: LogSpans) -> Iterator[Obstacle]:
    for topic in (spans.predictions, spans.labels):
        for partition, (start, end) in sorted(spans.offsets[topic].items()):
            needing, beyond, lowest, highest = [], [], start, end
            for report in reports:
                for first, stop in _ranges(report, partition, of_labels=topic == spans.labels):
                    if first < start:
                        needing.append(report)
                        lowest = min(lowest, first)
                    if stop > end:
                        beyond.append(report)
                        highest = max(highest, stop)
            if beyond:
                yield Obstacle(
                    "topic",
                    f"{topic}[{partition}] ends at offset {end:,}, but {told(beyond)} were made from offsets up to "
                    f"{highest:,}: it is not the topic that the live run read",
                )
            if needing:
                yield Obstacle(
                    "retention",
                    f"retention has removed the records of {topic}[{partition}] below offset {start:,}, and "
                    f"{told(needing)} were made from offsets {lowest:,} on: what was decided in sequence cannot be "
                    "decided again without the beginning. Give the source topics a retention as long as replays must "
                    "reach back",
                )


def _ranges(report: WindowReport, partition: int, *, of_labels: bool) -> Iterator[tuple[int, int]]:
    for source in report.sources:
        if source.partition == partition:
            first = source.labels_first if of_labels else source.predictions_first
            if first >= 0:
                yield first, source.labels_end if of_labels else source.predictions_end


def _other_specs(reports: list[WindowReport], digests: Mapping[str, str]) -> Iterator[Obstacle]:
    for (model, digest), those in grouped(reports, lambda report: (report.model_id, report.spec_digest)):
        now = digests.get(model)
        if digest == now:
            continue
        left_out = frozenset(report.report_id for report in those)
        if now is None:
            text = f"there is no spec of {model} any more: {told(those)} are left out"
        else:
            text = (
                f"{told(those)} of {model} were judged by another spec (digest {digest[:12] or 'unknown'}, now "
                f"{now[:12]}) and are left out"
            )
        yield Obstacle("spec", text, left_out)


def _other_logs(reports: list[WindowReport], spans: LogSpans, logs: Mapping[str, str]) -> Iterator[Obstacle]:
    """Offsets say nothing about a topic that was made anew and has been filled past the old ones since."""
    names = {"cluster": "the cluster", "predictions": spans.predictions, "labels": spans.labels}
    for what, name in names.items():
        for live, those in grouped(reports, lambda report, what=what: report.logs.get(what, "")):  # type: ignore[misc]
            if live and logs.get(what) and live != logs[what]:
                yield Obstacle(
                    "log",
                    f"{name} is another one (id {logs[what]}) than that which {told(those)} were made from (id "
                    f"{live}): records at the same offsets need not be the same",
                )


def _other_settings(reports: list[WindowReport], limits: Mapping[str, int]) -> Iterator[Obstacle]:
    for name, own in limits.items():
        for live, those in grouped(reports, lambda report, name=name: report.limits.get(name)):  # type: ignore[misc]
            if live is not None and live != own:
                yield Obstacle(
                    "settings",
                    f"{told(those)} were made with DRIFTLOOP_{name.upper()}={live}, here it is {own}: it decides "
                    "which rows count. Set it to what the workers had",
                )


def _idle_partitions(completed: Iterable[WindowReport]) -> Iterator[Obstacle]:
    """Which partitions are idle the clock says, and a replay has none."""
    those = list(completed)
    if those:
        yield Obstacle(
            "idle",
            f"{told(those)} were made while source partitions were idle (DRIFTLOOP_IDLE_TIMEOUT_MS) whose rows came "
            "later and restated them: a replay waits for such rows",
        )


def _missing_evidence(reports: list[WindowReport]) -> Iterator[Obstacle]:
    without = [
        report
        for report in reports
        if not report.content_digest or not report.limits or (report.rows and not report.sources and not report.sliding)
    ]
    if without:
        yield Obstacle(
            "evidence",
            f"{told(without)} carry no content digest, no offset ranges or no limits, as all that this version of "
            "driftloop writes do",
        )


def _other_software(reports: list[WindowReport], made_by: str) -> Iterator[Obstacle]:
    for written_by, those in grouped(reports, lambda report: report.made_by):
        if written_by != made_by:
            yield Obstacle(
                "software",
                f"{told(those)} were written by {written_by or 'a version that does not say which it is'}; this is "
                f"{made_by}: equality to the last bit is promised between the same versions alone",
            )


def _partitions(count: int) -> str:
    return f"{count} partition{'' if count == 1 else 's'}"
