"""``driftloop replay`` over processes, and what ``--verify`` says when the two cannot be equal."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from conftest import Broker
from driftloop.cli._replay import run_replay
from driftloop.cli._wanted import ReplayRequest
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.kafka.admin import create_topics
from driftloop.kafka.config import client_config
from driftloop.kafka.embedded import free_port
from driftloop.kafka.log_reader import partition_count
from driftloop.kafka.producer import Producer
from driftloop.registry import ArtifactStore, NewVersion, Registry, create_schema, open_engine
from driftloop.replay import processes as processes_module
from driftloop.replay.history import History, replay_history
from driftloop.replay.job import ReplayJob
from driftloop.replay.processes import PartitionProcesses, ReplayProcessDied
from driftloop.replay.published import read_published
from driftloop.replay.source import ReplayStep
from driftloop.settings import Settings
from driftloop.spec import ModelSpec, load_spec, load_specs
from driftloop.streaming.catalog import RegistryCatalog
from support import world
from support.own_settings import own_settings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DAYS, PER_DAY = 8, 300
# Inputs and outcomes of every day, over all rows and two regions; and the empty day before the end of time.
REPORTS = DAYS * 2 * 3 + 1
#: On this day a part of the predictions are of a version that nobody has registered yet.
STRAY_DAY = 5


@pytest.fixture(scope="module")
def lived(apache_kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a worker has left behind: eight days with faults, a drift, one retrain command, predictions of a version
    that was not registered, and records that are none of driftloop's."""
    folder = tmp_path_factory.mktemp("lived")
    settings = own_settings(
        apache_kafka.bootstrap, f"lived{os.getpid()}", folder, specs=folder / "specs", web_port=free_port()
    )
    world.prepare(settings)
    events = [*world.history(DAYS, PER_DAY, drift_from_day=3), *world.end_of_time(settings, DAYS)]
    world.publish(settings, [_stray(number, event) for number, event in enumerate(events)])
    worker = world.Process(settings, "worker", log=folder / "worker.log")
    try:
        world.wait_for("all reports", lambda: len(read_published(settings).reports) >= REPORTS, worker, 120)
        assert worker.stop() == 0, worker.text()
    finally:
        if worker.process.poll() is None:
            worker.kill()
    published = read_published(settings)
    assert all(report.made_by and report.source_partitions == 4 for report in published.reports.values())
    assert all(report.limits and len(set(report.logs.values())) == 3 for report in published.reports.values())
    assert len(published.commands) == 1
    with Producer(client_config(settings)) as producer:
        for topic in (settings.topics.window_reports, settings.topics.alerts, settings.topics.retrain_commands):
            producer.produce(topic, b"none of driftloop's", b"foreign")
    return settings


def _stray(number: int, event: world.Event) -> world.Event:
    arrives, topic, key, value = event
    start = world.START + STRAY_DAY * world.DAY
    if topic == "predictions" and number % 20 == 0 and start < arrives < start + 20 * world.HOUR and value:
        return arrives, topic, key, value.replace(b'"v1"', b'"v2"')
    return event


def replayed(settings: Settings, processes: int) -> tuple[History, list[ReplayStep]]:
    specs = load_specs(settings.specs)
    engine = open_engine(settings.resolved_database_url)
    catalog = RegistryCatalog(specs, Registry(engine, ArtifactStore(settings.resolved_artifacts)))
    steps: list[ReplayStep] = []
    try:
        return replay_history(settings, specs, catalog, processes=processes, on_step=steps.append), steps
    finally:
        engine.dispose()


def verify(settings: Settings, capsys: pytest.CaptureFixture[str], **request: object) -> tuple[int, str]:
    code = run_replay(settings, ReplayRequest(verify=True, **request))  # type: ignore[arg-type]
    said = capsys.readouterr()
    return code, " ".join((said.out + said.err).split())


def test_any_number_of_processes_says_the_same_to_the_last_bit(lived: Settings) -> None:
    (alone, own_steps), *others = [replayed(lived, processes) for processes in (1, 2, 3)]
    assert alone.judged.reports
    assert alone.judged.commands
    for history, steps in others:
        assert msgspec.json.encode(history.judged) == msgspec.json.encode(alone.judged)
        assert history.counts == alone.counts
        assert [step.progress for step in steps] == [step.progress for step in own_steps]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_replay_says_what_the_live_run_said(
    lived: Settings, capsys: pytest.CaptureFixture[str], processes: int
) -> None:
    code, text = verify(lived, capsys, processes=processes)
    assert code == 0, text
    assert f"{REPORTS} window reports" in text
    assert "and 1 retrain command compared field by field: 0 differences." in text


def test_a_part_of_the_history(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = verify(lived, capsys, start="2024-01-03", end="2024-01-05", processes=2)
    assert (code, text.split(",")[0]) == (0, "12 window reports")


def test_copies_that_land_late_and_out_of_order_change_nothing(
    lived: Settings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    published = read_published(lived)
    write(lived, lived.topics.window_reports, *list(published.reports.values())[::-7])
    write(lived, lived.topics.alerts, *list(published.alerts.values())[::-1])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        code, text = verify(lived, capsys, processes=1)
    assert code == 0, text
    assert f"{REPORTS} window reports" in text
    foreign = [entry.getMessage() for entry in caplog.records if "is left out" in entry.getMessage()]
    assert len(foreign) == 3
    assert all(topic in said for topic, said in zip(("window-reports[", "alerts[", "commands["), foreign, strict=True))


def write(settings: Settings, topic: str, *events: WindowReport | Alert) -> None:
    with Producer(client_config(settings)) as producer:
        for event in events:
            # All of a model are in one partition.
            producer.produce(topic, msgspec.json.encode(event), event.model_id.encode())


def test_a_version_that_was_registered_later_is_named(
    lived: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(lived.data_dir, tmp_path / "data")
    since = lived.model_copy(update={"data_dir": tmp_path / "data"})
    engine = open_engine(since.resolved_database_url)
    profile = world.reference_profile(load_spec(lived.specs / "credit.yaml"))
    Registry(engine, ArtifactStore(since.resolved_artifacts)).register_version(
        NewVersion(model_id="credit", version="v2", profile=profile.encode(), event_time_ms=world.START)
    )
    engine.dispose()
    code, text = verify(since, capsys, processes=1)
    assert code == 3
    assert (
        "predictions of credit v2 in 1 window (from 2024-01-06 to 2024-01-07) came before the version was registered"
        in text
    )
    assert "What is compared all the same differs" in text


def test_settings_that_decide_which_rows_count_are_named(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    since = world.START + 2 * world.DAY
    code, text = verify(lived.model_copy(update={"oldest_event_ms": since}), capsys, processes=1)
    assert code == 3
    assert f"were made with DRIFTLOOP_OLDEST_EVENT_MS={lived.oldest_event_ms}, here it is {since}" in text
    assert "What is compared all the same differs" in text


def test_commands_given_by_hand_are_left_out(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    command = next(iter(read_published(lived).commands.values()))
    by_hand = msgspec.structs.replace(command, command_id="by hand", trigger="manual")
    with Producer(client_config(lived)) as producer:
        producer.produce(lived.topics.retrain_commands, msgspec.json.encode(by_hand), command.model_id.encode())
    assert isinstance(by_hand, RetrainCommand)
    code, text = verify(lived, capsys, processes=1)
    assert code == 0, text
    assert "and 1 retrain command compared field by field: 0 differences." in text
    assert "Given by hand and left out: 1 retrain command." in text


def test_another_spec_is_named_with_its_windows(
    lived: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "credit.yaml").write_text(world.SPEC.replace("threshold: 0.5", "threshold: 0.6"))
    changed = lived.model_copy(update={"specs": tmp_path})
    code, text = verify(changed, capsys, processes=1)
    assert code == 3
    assert (
        f"{REPORTS} live reports (windows from 2024-01-01 to 2024-01-10) of credit were judged by another spec" in text
    )
    assert "0 window reports, 0 alert events and 0 retrain commands compared" in text


def test_other_partitions_are_named(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = verify(lived.model_copy(update={"source_partitions": 3}), capsys)
    assert code == 3
    assert "has 4 partitions, DRIFTLOOP_SOURCE_PARTITIONS says 3" in text
    assert "Nothing was compared" in text


def test_a_missing_profile_is_named(lived: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = lived.model_copy(update={"data_dir": tmp_path / "other"})
    other.data_dir.mkdir()
    code, text = verify(other, capsys)
    assert code == 2, "there is no database at all"
    engine = open_engine(other.resolved_database_url)
    create_schema(engine)
    engine.dispose()
    code, text = verify(other, capsys)
    assert code == 3
    assert f"the registry has no reference profile of credit v1, which {REPORTS} live reports" in text


def test_a_process_that_is_killed_is_named_and_none_is_left(
    lived: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[int]] = []
    whole = PartitionProcesses.sources

    def and_kill(self: PartitionProcesses) -> dict[int, Iterator[ReplayStep]]:
        started.append(self.pids)
        os.kill(self.pids[1], signal.SIGKILL)
        return whole(self)

    monkeypatch.setattr(PartitionProcesses, "sources", and_kill)
    with pytest.raises(ReplayProcessDied, match="source partitions 1, 3 was ended by SIGKILL; it may have been short"):
        replayed(lived, 2)
    code, text = verify(lived, capsys, processes=2)
    assert code == 70
    assert "driftloop replay: the process of source partitions 1, 3 was ended by SIGKILL" in text
    assert [pid for pids in started for pid in pids if alive(pid)] == []


def test_what_a_process_cannot_do_is_said_in_its_own_words(
    lived: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "ReplayJob", _job_elsewhere)
    code, text = verify(lived, capsys, processes=2)
    assert code == 2
    assert "nowhere.predictions: there is no such topic; `driftloop topics create` makes it" in text


def _job_elsewhere(settings: Settings, specs: Mapping[str, ModelSpec], partitions: tuple[int, ...]) -> ReplayJob:
    """The processes look for topics that are not there."""
    elsewhere = settings.model_copy(update={"topic_prefix": "nowhere"})
    elsewhere.__dict__.pop("topics", None)
    return ReplayJob(elsewhere, specs, partitions)


def start(settings: Settings, *options: str) -> subprocess.Popen[str]:
    environment = {
        f"DRIFTLOOP_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_none=True, exclude={"topics"}).items()
    }
    return subprocess.Popen(
        [sys.executable, "-m", "driftloop", "replay", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(lived: Settings, number: signal.Signals) -> None:
    """Ctrl-C goes to the whole group, as from a terminal; the others to the command alone."""
    command = start(lived, "--processes", "2")
    try:
        deadline_s = time.monotonic() + 60
        while len(found := children_of(command.pid)) < 3:  # the third one is multiprocessing's own
            assert time.monotonic() < deadline_s
            assert command.poll() is None, command.communicate()
            time.sleep(0.02)
        (os.killpg if number == signal.SIGINT else os.kill)(command.pid, number)
        output, _ = command.communicate(timeout=30)
        assert command.returncode == (-number if number == signal.SIGKILL else 130), output
        if number != signal.SIGKILL:
            assert output.splitlines()[-1] == "driftloop replay: stopped; nothing was written"
        deadline_s = time.monotonic() + 20
        while any(map(alive, found)) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert not any(map(alive, found))
    finally:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)


# The tests from here on change what the others read. None of them needs another one.


def test_a_changed_report_is_a_difference(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    first = min(read_published(lived).reports.values(), key=lambda report: report.report_id)
    write(lived, lived.topics.window_reports, msgspec.structs.replace(first, rows=first.rows + 1))
    code, text = verify(lived, capsys, processes=1)
    assert code == 1
    assert f"report {first.report_id}, published again with another content at {lived.topics.window_reports}[" in text
    assert f": rows was {first.rows + 1} live and is {first.rows} in the replay" in text
    assert "1 difference." in text


def as_they_are(settings: Settings) -> Settings:
    """With as many source partitions as the topics have by now."""
    count = partition_count(client_config(settings), settings.topics.labels)
    grown = settings.model_copy(update={"source_partitions": count})
    grown.__dict__.pop("topics", None)  # made from the number
    return grown


def test_partitions_that_were_added_are_named(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    topics = lived.topics
    admin = AdminClient(client_config(lived))
    for future in admin.create_partitions([NewPartitions(topics.labels, 6)]).values():
        future.result(20)
    wait_for_partitions(lived, topics.labels, 6)
    code, text = verify(lived, capsys)
    assert code == 3
    assert f"{topics.labels} has 6 partitions, DRIFTLOOP_SOURCE_PARTITIONS says 4" in text
    for future in admin.create_partitions(
        [NewPartitions(topics.predictions, 6), NewPartitions(topics.labeled, 6)]
    ).values():
        future.result(20)
    wait_for_partitions(lived, topics.predictions, 6)
    code, text = verify(as_they_are(lived), capsys, processes=1)
    assert code == 3
    assert (
        f"{REPORTS} live reports (windows from 2024-01-01 to 2024-01-10) were made when there were 4 partitions, now "
        "there are 6: keys have moved" in text
    )
    assert "What is compared all the same differs" in text, "the replay waits for partitions that nobody has filled"


def wait_for_partitions(settings: Settings, topic: str, count: int) -> None:
    world.wait_for("partitions", lambda: partition_count(client_config(settings), topic) == count, None, 30)


def test_retention_that_removed_the_beginning_is_named(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    admin = AdminClient(client_config(lived))
    for future in admin.delete_records([TopicPartition(lived.topics.predictions, 2, 20)]).values():
        future.result(20)
    code, text = verify(as_they_are(lived), capsys)
    assert code == 3
    assert f"retention has removed the records of {lived.topics.predictions}[2] below offset 20" in text
    assert "Nothing was compared: a replay of this history cannot be equal to the live run." in text


def test_a_topic_that_was_made_anew_and_filled_past_its_old_end_is_named(
    lived: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = as_they_are(lived)
    topics, admin = settings.topics, AdminClient(client_config(settings))
    for future in admin.delete_topics([topics.predictions]).values():
        future.result(20)

    # Until the broker has really deleted it, it is there already.
    world.wait_for("the topic", lambda: topics.predictions in create_topics(settings).created, None, 30)
    others = [event for event in world.history(DAYS, 2 * PER_DAY, seed=2) if event[1] == "predictions"]
    world.publish(settings, [*others, *world.end_of_time(settings, DAYS)])
    code, text = verify(settings, capsys, processes=1)
    assert code == 3
    assert f"{topics.predictions} is another one (id " in text
    assert f"than that which {REPORTS} live reports (windows from 2024-01-01 to 2024-01-10) were made from" in text
    assert "What is compared all the same differs" in text
