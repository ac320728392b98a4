"""What stands between a replay and the live run, found before they are compared: each is named, in a sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from driftloop.events.reports import WindowReport
from driftloop.events.time import format_time
from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import end_offsets, partition_count, start_offsets
from driftloop.settings import Settings

__all__ = ["LogSpans", "Obstacle", "find_obstacles", "log_spans"]

ObstacleKind = Literal["profile", "partitions", "retention", "topic", "spec", "repartitioned", "evidence", "software"]

KeyT = TypeVar("KeyT", bound=Hashable)

#: With these no replay can be equal: it is not even tried.
_HOPELESS = frozenset({"profile", "partitions", "retention", "topic"})


@dataclass(frozen=True)
class Obstacle:
    """One reason for which a replay differs from the live run, or may.

    ``left_out``: the reports (by id) that it keeps from being compared while others can be.
    """

    kind: ObstacleKind
    sentence: str
    left_out: frozenset[str] = frozenset()

    @property
    def hopeless(self) -> bool:
        """Nothing can be compared."""
        return self.kind in _HOPELESS


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
    *,
    spans: LogSpans,
    source_partitions: int,
    has_profile: Callable[[str, str], bool],
    digests: Mapping[str, str],
    made_by: str,
) -> list[Obstacle]:
    """Everything that keeps a replay from being equal to the live run that published these final reports.

    ``reports``: all final ones that decisions to be compared hang on, so from the first window on;
    ``source_partitions`` as the settings have it; ``digests``: model to its spec's digest now; ``made_by``: what
    replays.
    """
    reports = sorted(reports, key=lambda report: (report.window_end_ms, report.report_id))
    return [
        *_missing_profiles(reports, has_profile),
        *_other_partitions(reports, spans, source_partitions),
        *_removed_records(reports, spans),
        *_other_specs(reports, digests),
        *_missing_evidence(reports),
        *_other_software(reports, made_by),
    ]


def _missing_profiles(reports: list[WindowReport], has_profile: Callable[[str, str], bool]) -> Iterator[Obstacle]:
    for (model, version), those in _grouped(reports, lambda report: (report.model_id, report.model_version)):
        if not has_profile(model, version):
            yield Obstacle(
                "profile",
                f"the registry has no reference profile of {model} {version}, which {_text(those)} were judged by: "
                "bring the registry's database and files back from a copy, or leave this model out with --model",
            )


def _other_partitions(reports: list[WindowReport], spans: LogSpans, source_partitions: int) -> Iterator[Obstacle]:
    counts = {topic: len(offsets) for topic, offsets in spans.offsets.items()}
    for topic, count in counts.items():
        if count != source_partitions:
            yield Obstacle(
                "partitions",
                f"{topic} has {_partitions(count)}, DRIFTLOOP_SOURCE_PARTITIONS says {source_partitions}: set it to "
                "what the topics have, which must be the same for predictions and labels",
            )
    for at, those in _grouped(reports, lambda report: max((s.partition for s in report.sources), default=-1)):
        if at >= min(counts.values()):
            yield Obstacle(
                "partitions",
                f"{_text(those)} were made from source partition {at}, which the topics no longer have: they were made "
                f"anew with {_partitions(min(counts.values()))}",
            )
    for count, those in _grouped(reports, lambda report: report.source_partitions):
        if count and count != source_partitions:
            yield Obstacle(
                "repartitioned",
                f"{_text(those)} were made when there were {_partitions(count)}, now there are {source_partitions}: "
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
                    f"{topic}[{partition}] ends at offset {end:,}, but {_text(beyond)} were made from offsets up to "
                    f"{highest:,}: it is not the topic that the live run read",
                )
            if needing:
                yield Obstacle(
                    "retention",
                    f"retention has removed the records of {topic}[{partition}] below offset {start:,}, and "
                    f"{_text(needing)} were made from offsets {lowest:,} on: what was decided in sequence cannot be "
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
    for (model, digest), those in _grouped(reports, lambda report: (report.model_id, report.spec_digest)):
        now = digests.get(model)
        if digest == now:
            continue
        left_out = frozenset(report.report_id for report in those)
        if now is None:
            text = f"there is no spec of {model} any more: {_text(those)} are left out"
        else:
            text = (
                f"{_text(those)} of {model} were judged by another spec (digest {digest[:12] or 'unknown'}, now "
                f"{now[:12]}) and are left out"
            )
        yield Obstacle("spec", text, left_out)


def _missing_evidence(reports: list[WindowReport]) -> Iterator[Obstacle]:
    without = [
        report
        for report in reports
        if not report.content_digest or (report.rows and not report.sources and not report.sliding)
    ]
    if without:
        yield Obstacle(
            "evidence", f"{_text(without)} carry no content digest or no offset ranges, as all that driftloop writes do"
        )


def _other_software(reports: list[WindowReport], made_by: str) -> Iterator[Obstacle]:
    for written_by, those in _grouped(reports, lambda report: report.made_by):
        if written_by != made_by:
            yield Obstacle(
                "software",
                f"{_text(those)} were written by {written_by or 'a version that does not say which it is'}; this is "
                f"{made_by}: equality to the last bit is promised between the same versions alone",
            )


def _grouped(
    reports: Iterable[WindowReport], key: Callable[[WindowReport], KeyT]
) -> list[tuple[KeyT, list[WindowReport]]]:
    """In the order in which the keys come."""
    groups: dict[KeyT, list[WindowReport]] = defaultdict(list)
    for report in reports:
        groups[key(report)].append(report)
    return list(groups.items())


def _text(reports: list[WindowReport]) -> str:
    """``12 live reports (windows from 2013-02-01 to 2013-02-07)``."""
    unique = {report.report_id: report for report in reports}.values()
    first, last = min(report.window_start_ms for report in unique), max(report.window_end_ms for report in unique)
    noun = "live report" if len(unique) == 1 else "live reports"
    return f"{len(unique):,} {noun} (windows from {format_time(first)} to {format_time(last)})"


def _partitions(count: int) -> str:
    return f"{count} partition{'' if count == 1 else 's'}"
