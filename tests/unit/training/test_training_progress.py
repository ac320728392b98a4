"""What a training tells while it goes on, and how it ends when it does not come to its end."""

from __future__ import annotations

import sys
import textwrap
import threading
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from driftloop.events.decisions import RetrainCommand
from driftloop.registry import RunStore, create_schema, open_engine
from driftloop.spec.validation import Bounds, ValidationSpec
from driftloop.training import child as child_module
from driftloop.training import progress, run_recorder
from driftloop.training.child import TrainingFailed, TrainingProcesses, train_in_child
from driftloop.training.child_output import LOG, PROGRESS, ChildOutput, FileListener
from driftloop.training.dataset import cut
from driftloop.training.run_recorder import RunRecorder
from driftloop.training.validation.result import ValidationResult
from support.training_rows import make_labeled, make_rows, make_spec


class Told:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.lines: list[str] = []
        self.files: dict[str, str] = {}

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def kept(self, role: str, uri: str) -> None:
        self.files[role] = uri


def parquet() -> bytes:
    spec = make_spec()
    return cut(make_labeled(spec, *make_rows()), spec, 0, 10**12).to_parquet()


def test_without_a_listener_nothing_happens() -> None:
    progress.phase("fitting")
    progress.line("a line")
    progress.kept("dataset", "ab/cd")


def test_a_listener_hears_its_own_thread_only_and_until_the_end() -> None:
    told = Told()
    with progress.listening(told):
        progress.phase("fitting")
        other = threading.Thread(target=progress.phase, args=("elsewhere",))
        other.start()
        other.join(10)
        progress.kept("dataset", "ab/cd")
    progress.line("too late")
    assert (told.phases, told.lines, told.files) == (["fitting"], [], {"dataset": "ab/cd"})


def test_the_child_tells_its_phases_and_leaves_the_result_of_the_checks(tmp_path: Path) -> None:
    told = Told()
    with progress.listening(told):
        train_in_child(make_spec(), parquet(), None, seed=1, folder=tmp_path)
    assert told.phases == [
        "validating the data",
        "fitting on 320 rows",
        "fitting again, the 80 later rows with the others",
        "judging by 3 gates on 80 later rows",
        "making the reference profile",
    ]
    assert told.lines[-1].startswith("validation: pass after")
    kept = msgspec.json.decode((tmp_path / "validation.json").read_bytes(), type=ValidationResult)
    assert (kept.verdict, kept.rows) == ("pass", 400)


def test_a_training_whose_data_fails_is_refused_and_the_result_is_there(tmp_path: Path) -> None:
    strict = ValidationSpec(missing=Bounds(fail=0.01))
    spec = make_spec(training={"validation": strict})
    with pytest.raises(TrainingFailed, match=r"does not pass validation: missing: .* have no 'x'"):
        train_in_child(spec, parquet(), None, seed=1, folder=tmp_path, unreadable=1)
    kept = msgspec.json.decode((tmp_path / "validation.json").read_bytes(), type=ValidationResult)
    assert kept.verdict == "fail"
    assert not (tmp_path / "artifact.skops").exists()


DYING = {
    "killed": ("import os, signal; print('almost', flush=True); os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "segfault": ("import ctypes; print('almost', flush=True); ctypes.string_at(0)", "SIGSEGV"),
    "exit": ("import sys; print('almost', flush=True); sys.exit(3)", "ended with code 3"),
}


@pytest.mark.parametrize("way", list(DYING))
def test_a_process_that_dies_is_a_failed_training_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A child that dies where it would train: for the crash in native code with the real one's start."""
    code, expected = DYING[way]
    script = tmp_path / "dying.py"
    light = """
        import os, sys
        log = os.open(sys.stdin.readline().strip() + "/child.log", os.O_WRONLY | os.O_CREAT)
        for number in (1, 2):
            os.dup2(log, number)
    """
    real = """
        import faulthandler
        from driftloop.training.child_output import LOG
        from driftloop.training.child_process import folder_from_parent, log_into
        log_into(folder_from_parent() / LOG)
        faulthandler.enable()
    """
    script.write_text(textwrap.dedent(real if way == "segfault" else light) + code)
    told, folder = Told(), tmp_path / "job"
    folder.mkdir()
    monkeypatch.setattr(child_module, "COMMAND", [sys.executable, str(script)])
    with progress.listening(told), pytest.raises(TrainingFailed, match=expected) as failed:
        train_in_child(make_spec(), parquet(), None, seed=1, folder=folder)
    assert "almost" in told.lines
    assert "the last it said: " in str(failed.value)
    if way == "segfault":
        assert any("Segmentation fault" in line for line in told.lines)
    else:
        assert "almost" in str(failed.value)


def test_a_process_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "COMMAND", [sys.executable, "-c", "import no_such_module_at_all"])
    told = Told()
    with progress.listening(told), pytest.raises(TrainingFailed, match="No module named 'no_such_module_at_all'"):
        train_in_child(make_spec(), parquet(), None, seed=1, folder=tmp_path)
    assert told.lines[0].startswith("Traceback")


def test_a_time_out_has_the_last_words_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, time; from pathlib import Path; folder = Path(sys.stdin.readline().strip());"
        f"(folder / {LOG!r}).write_text('step 7\\nstep 8'); time.sleep(60)"
    )
    monkeypatch.setattr(child_module, "COMMAND", [sys.executable, "-c", code])
    spec = make_spec(training={"time_limit": "2s"})
    with pytest.raises(TrainingFailed, match="time limit of 2s; the last it said: step 7 / step 8"):
        train_in_child(spec, parquet(), None, seed=1, folder=tmp_path)


def test_a_process_that_waits_and_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with TrainingProcesses() as processes:
        monkeypatch.setattr(child_module, "COMMAND", [sys.executable, "-c", "raise SystemExit(5)"])
        processes.warm()
        assert processes._spare is not None
        processes._spare.wait(30)
        monkeypatch.setattr(child_module, "COMMAND", ["sleep", "60"])
        process = processes.take()
        assert process.poll() is None
        process.kill()
        process.wait(30)


def test_lines_are_told_as_they_are_completed(tmp_path: Path) -> None:
    told, output = Told(), ChildOutput(tmp_path)
    listener = FileListener(tmp_path)
    with progress.listening(told), (tmp_path / LOG).open("ab") as log:
        output.forward()
        log.write(b"first\nsec")
        log.flush()
        listener.phase("fitting")
        output.forward()
        assert (told.phases, told.lines) == (["fitting"], ["first"])
        log.write("ond\n\n\xff third".encode("latin-1"))
        log.flush()
        listener.line("said")
        output.forward()
        assert told.lines == ["first", "said", "second"]
        (tmp_path / PROGRESS).open("ab").write(b'["phase", "cut o')
        output.forward(to_end=True)
    assert told.lines[-1] == "\ufffd third"
    assert output.last_words() == "first / second / \ufffd third"


@pytest.mark.parametrize("before", ["", "terminate called without an active exception\n"])
def test_of_a_crash_the_line_that_names_it_is_kept(tmp_path: Path, before: str) -> None:
    output = ChildOutput(tmp_path)
    frames = "\n".join(f'  File "trainer.py", line {number} in fit' for number in range(40))
    dump = f"{before}Fatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n{frames}\n"
    (tmp_path / LOG).write_text(f"{dump}Extension modules: {'numpy.x, ' * 300}\n")
    with progress.listening(Told()):
        output.forward(to_end=True)
    assert output.last_words().startswith(f"{before.strip()} / " if before else "Fatal Python error: Aborted / Thread")
    assert "Fatal Python error: Aborted / Thread 0x1 (most recent call first): / File" in output.last_words()
    assert "Extension" not in output.last_words()


def test_a_flood_of_output_is_cut(tmp_path: Path) -> None:
    told, output = Told(), ChildOutput(tmp_path)
    (tmp_path / LOG).write_bytes(b"x" * 99 + b"\n" + b"y" * 3_000_000 + b"\nlast\n")
    with progress.listening(told):
        output.forward(to_end=True)
    assert told.lines[0].endswith("bytes of the log left out)")
    assert told.lines[-1] == "last"
    assert sum(map(len, told.lines)) < 200_000


COMMAND = RetrainCommand(
    command_id="c" * 8, model_id="m", champion_version="v1", trigger="drift", reason="r", window_end_ms=2, from_ms=0,
    to_ms=2,
)  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    engine = open_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    create_schema(engine)
    store = RunStore(engine)
    store.lease(COMMAND, "one", 60, now=1.0)
    return store


def test_the_recorder_writes_phases_at_once_and_lines_soon(runs: RunStore) -> None:
    now = [100.0]
    recorder = RunRecorder(runs, COMMAND.command_id, 2, clock=lambda: now[0])
    recorder.phase("cutting")
    recorder.line("first")
    assert [entry.text for entry in runs.log.entries(COMMAND.command_id)] == ["cutting"]
    now[0] += 0.6
    recorder.line("second")
    entries = runs.log.entries(COMMAND.command_id)
    assert [(entry.text, entry.at, entry.attempt) for entry in entries] == [
        ("cutting", 100.0, 2), ("first", 100.0, 2), ("second", 100.6, 2),
    ]  # fmt: skip
    recorder.line("third")
    recorder.close()
    assert [entry.text for entry in runs.log.entries(COMMAND.command_id)][-1] == "third"
    recorder.kept("dataset", "ab/cd")
    run = runs.get(COMMAND.command_id)
    assert run is not None
    assert run.files == {"dataset": "ab/cd"}


def test_a_chatty_training_is_bounded(runs: RunStore) -> None:
    recorder = RunRecorder(runs, COMMAND.command_id, 1, clock=lambda: 100.0)
    for number in range(3_000):
        recorder.line(f"line {number}")
    for number in range(600):
        recorder.phase(f"phase {number}")
    recorder.close()
    entries = runs.log.entries(COMMAND.command_id)
    lines = [entry.text for entry in entries if entry.kind == "line"]
    assert len(lines) == 1_000
    assert lines[-1] == "line 2999"
    assert sum(entry.kind == "phase" for entry in entries) == 500


def test_a_database_that_is_away_ends_no_training(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = RunRecorder(runs, COMMAND.command_id, 1)
    with monkeypatch.context() as patch:

        def away(*args: object) -> None:
            raise OperationalError("insert", {}, Exception("no connection"))

        patch.setattr(runs.log, "add", away)
        recorder.phase("cutting")
        for number in range(run_recorder._WAITING + 500):
            recorder.line(f"{number}")
    recorder.phase("fitting")
    texts = [entry.text for entry in runs.log.entries(COMMAND.command_id)]
    assert any("lines left out: the database did not answer" in text for text in texts)
    assert texts[-1] == "fitting"
