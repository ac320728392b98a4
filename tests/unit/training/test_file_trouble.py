"""Files that cannot be read or written: whose trouble it is, and what becomes of the command and of the others.

The tests may run as root, for whom permissions do not count; so a folder that cannot be written is a path below a
regular file, and a full disk is the limit of a file's size.
"""

from __future__ import annotations

import errno
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from driftloop.events.decisions import RetrainCommand
from driftloop.observability.metrics import Metrics
from driftloop.registry import RunStore, create_schema, open_engine
from driftloop.registry.artifacts import ArtifactStore
from driftloop.registry.database import writing
from driftloop.registry.models import Registry
from driftloop.registry.run_follow import state_of
from driftloop.registry.tables import runs
from driftloop.training import run as run_module
from driftloop.training.bootstrap import register_first_version
from driftloop.training.child import TrainingCancelled
from driftloop.training.dataset import OffsetRange, TrainingSet
from driftloop.training.file_trouble import SharedFiles, Tries
from driftloop.training.putting_off import PuttingOff
from driftloop.training.run import CommandRunner
from driftloop.training.train import Champion, Trained, train
from driftloop.training.worker import Trainer
from support.training_rows import make_labeled, make_rows, make_spec


def command(name: str, model: str = "m") -> RetrainCommand:
    return RetrainCommand(
        command_id=name * 32, model_id=model, champion_version="v1", trigger="drift", reason="r", window_end_ms=10**10,
        from_ms=0, to_ms=10**10,
    )  # fmt: skip


def below_a_file(path: Path) -> None:
    """From now on nothing can be written below this path: it is a regular file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing more fails, as on a disk with so much room."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_places_that_can_be_written_are_left_as_they_were(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    kept = store.put_bytes(b"kept", ".skops")
    assert SharedFiles(store, tmp_path / "work").problem() is None
    assert [name for name, _ in store.files.entries()] == [kept.uri]
    assert list((tmp_path / "work").iterdir()) == []


def test_a_store_that_cannot_be_written_is_everybodys_trouble(tmp_path: Path) -> None:
    below_a_file(tmp_path / "artifacts")
    files = SharedFiles(ArtifactStore(tmp_path / "artifacts"), tmp_path / "work")
    said = files.everybodys(PermissionError(errno.EACCES, "Permission denied"))
    assert said is not None
    assert said.startswith(f"the artifact store {tmp_path / 'artifacts'} cannot be written: ")


def test_a_work_folder_that_cannot_be_written_is_everybodys_trouble(tmp_path: Path) -> None:
    below_a_file(tmp_path / "data")
    files = SharedFiles(ArtifactStore(tmp_path / "artifacts"), tmp_path / "data" / "trainer")
    said = files.problem()
    assert said is not None
    assert said.startswith(f"the folder of running trainings, {tmp_path / 'data' / 'trainer'}, cannot be written: Not")


def test_no_room_for_anything_is_everybodys_and_no_room_for_one_large_file_is_not(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    files = SharedFiles(store, tmp_path / "work")
    with largest_file(65_536):
        with pytest.raises(OSError, match="File too large") as large:
            store.put_bytes(bytes(200_000), ".parquet")
        assert files.everybodys(large.value) is None
    with largest_file(100):
        said = files.everybodys(large.value)
    assert said is not None
    assert "File too large" in said


def test_one_file_that_cannot_be_written_is_that_commands_trouble(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    name = store.put_bytes(b"x", ".parquet").uri
    other = ArtifactStore(tmp_path / "other")
    below_a_file(tmp_path / "other" / name[:2])
    with pytest.raises(OSError) as error:
        other.put_bytes(b"x", ".parquet")
    files = SharedFiles(other, tmp_path / "work")
    assert all(files.everybodys(error.value) is None for _ in range(20))
    long = tmp_path / ("a" * 300)
    with pytest.raises(OSError, match="too long") as error:
        long.write_bytes(b"")
    assert files.everybodys(error.value) is None


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOMEM, "no memory"), OSError(errno.EMFILE, "files"), ConnectionResetError(), TimeoutError()],
)
def test_what_is_no_files_fault_is_no_commands_either(tmp_path: Path, error: OSError) -> None:
    assert SharedFiles(ArtifactStore(tmp_path / "artifacts"), tmp_path / "work").everybodys(error) is not None


SPECS = {name: make_spec(model=name) for name in ("m", "other")}


class Loop:
    """A trainer of two models without its consumer; v1 of both is stale."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_module, "train_in_child", self._train)
        self.folder = folder
        engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
        create_schema(engine)
        self.registry = Registry(engine, ArtifactStore(folder / "artifacts"))
        frame, labels, times = make_rows(rows=200)
        self.labeled = {
            name: make_labeled(spec, frame, labels, times + 10**9, prefix=name) for name, spec in SPECS.items()
        }
        self.runs = RunStore(engine)
        self.stopping = threading.Event()
        self.blocked: list[bool] = []
        self.start()

    def start(self, name: str = "trainer-1") -> None:
        """A new process, which knows nothing but the database."""
        nothing: Any = None
        runner = CommandRunner(
            SPECS,
            self.registry,
            self,
            labeled_topic="t",
            folder=self.folder / "work",  # type: ignore[arg-type]
        )
        self.putting_off = PuttingOff(
            self.runs, SharedFiles(self.registry.store, self.folder / "work"), Tries(3, 100.0), self.stopping,
            self.blocked.append,
        )  # fmt: skip
        self.trainer = Trainer(
            {}, group="g", commands_topic="c", dead_letters_topic="d", runs=self.runs, relay=nothing, runner=runner,
            stopping=self.stopping, producer=nothing, putting_off=self.putting_off, owner=name,
        )  # fmt: skip

    def rows(self, model_id: str, *_: Any, most_rows: int | None = None) -> Any:
        return self.labeled[model_id], [OffsetRange(partition=0, first=0, end=200)]

    def _train(self, spec: Any, parquet: bytes, champion: Any, *, seed: int, **_: Any) -> Trained:
        rival = Champion(champion.version, None, champion.trained_to_ms)
        return train(spec, TrainingSet.from_parquet(spec, parquet), rival, seed=seed)

    def dataset_name(self) -> str:
        """The name that the store gives to the rows of m."""
        copy = ArtifactStore(self.folder / "copy")
        from driftloop.training.dataset import cut

        rows, sources = self.rows("m")
        return copy.put_bytes(cut(rows, SPECS["m"], 0, 10**10, sources).to_parquet(), ".parquet").uri

    def handle(self, name: str, model: str = "m") -> None:
        """The command comes from the topic."""
        self.trainer._carry_out(command(name, model))

    def take_due(self) -> list[str]:
        """What the loop does in its turns."""
        taken = []
        for found in self.runs.due(time.time()):
            taken.append(found.model_id)
            self.trainer._carry_out(found, wait=False)
        return taken

    def run(self, name: str) -> Any:
        return self.runs.get(name * 32)

    def let_time_pass(self) -> None:
        """Until what was put off is due."""
        with writing(self.registry.engine) as connection:
            past = round(time.time() * 1000) - 1
            connection.execute(update(runs).where(runs.c.next_try_wall_ms.is_not(None)).values(next_try_wall_ms=past))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Registered once; every test gets a copy."""
    folder = tmp_path_factory.mktemp("prepared")
    engine = open_engine(f"sqlite:///{folder / 'registry.db'}")
    create_schema(engine)
    registry = Registry(engine, ArtifactStore(folder / "artifacts"))
    for spec in SPECS.values():
        register_first_version(registry, spec, *make_rows(seed=1, sign=-1.0), 100)
    engine.dispose()
    return folder


@pytest.fixture
def loop(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return Loop(tmp_path, monkeypatch)


def test_one_commands_trouble_ends_it_after_its_tries_and_others_go_on_meanwhile(loop: Loop) -> None:
    """Before, :class:`OSError` ended the trainer with the offset uncommitted, so that every start met it again."""
    below_a_file(loop.folder / "artifacts" / loop.dataset_name()[:2])
    loop.handle("a")  # returns, so the offset is committed
    run = loop.run("a")
    assert (run.outcome, run.tries, run.attempts, run.lease_until) == (None, 1, 0, 0.0)
    state = state_of(run, time.time() + 5)
    assert state.state == "put off"
    assert state.sentence.startswith("try 1 of 3 failed, the next is at ")
    loop.handle("b", "other")
    assert loop.run("b").outcome == "promoted"
    # A copy of the command from the topic changes nothing, and holds nobody up.
    loop.handle("a")
    assert loop.run("a").tries == 1

    loop.start("trainer-2")  # a restart does not count anew
    loop.let_time_pass()
    assert loop.take_due() == ["m"]
    assert loop.run("a").tries == 2
    loop.let_time_pass()
    loop.take_due()
    run = loop.run("a")
    assert (run.outcome, run.version) == ("failed", None)
    assert run.reason.startswith("its files could not be read or written in 3 tries, the last time: ")
    assert loop.dataset_name()[:2] in run.reason
    failed = [change for change in loop.registry.history("m") if change.action == "failed"]
    assert [(change.command_id, change.reason) for change in failed] == [("a" * 32, run.reason)]
    assert loop.runs.due(time.time() + 3600) == []
    assert loop.blocked == []


def test_trouble_that_passes_costs_tries_and_no_attempt(loop: Loop) -> None:
    broken = loop.folder / "artifacts" / loop.dataset_name()[:2]
    below_a_file(broken)
    loop.handle("a")
    broken.unlink()
    loop.let_time_pass()
    loop.take_due()
    run = loop.run("a")
    assert (run.outcome, run.version, run.attempts, run.waiting) == ("promoted", "v2", 1, None)


def test_pauses_double(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    below_a_file(loop.folder / "artifacts" / loop.dataset_name()[:2])
    pauses = []
    for _ in range(2):
        began = time.time()
        if not loop.take_due():
            loop.handle("a")
        pauses.append(loop.run("a").next_try - began)
        loop.let_time_pass()
    assert pauses == pytest.approx([100.0, 200.0], abs=20.0)


def test_everybodys_trouble_fails_no_run_and_is_said_until_it_passes(loop: Loop) -> None:
    whole = loop.folder / "artifacts"
    aside = loop.folder / "aside"
    whole.rename(aside)
    below_a_file(whole)
    working = threading.Thread(target=loop.handle, args=("a",))
    working.start()
    deadline = time.monotonic() + 20
    while loop.putting_off.trouble is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert loop.putting_off.trouble is not None
    assert f"the artifact store {whole} cannot be written" in loop.putting_off.trouble
    assert loop.blocked == [True]
    run = loop.run("a")
    assert (run.outcome, run.tries, run.attempts) == (None, 0, 0)
    assert run.waiting.startswith("no command can be carried out: the artifact store")
    whole.unlink()
    aside.rename(whole)
    working.join(20)
    assert not working.is_alive()
    assert (loop.putting_off.trouble, loop.blocked) == (None, [True, False])
    loop.let_time_pass()
    loop.take_due()
    assert loop.run("a").outcome == "promoted"


def test_told_to_end_while_it_waits_for_files_it_ends(loop: Loop) -> None:
    below_a_file(loop.folder / "work")
    threading.Timer(0.3, loop.stopping.set).start()
    with pytest.raises(TrainingCancelled):
        loop.handle("a")
    assert loop.run("a").outcome is None


def test_a_due_command_that_another_trainer_has_is_left_to_it(loop: Loop) -> None:
    below_a_file(loop.folder / "artifacts" / loop.dataset_name()[:2])
    loop.handle("a")
    loop.let_time_pass()
    assert loop.runs.lease(command("a"), "trainer-9", 30.0, time.time()) is not None
    assert loop.runs.due(time.time()) == []
    began = time.monotonic()
    loop.trainer._carry_out(command("a"), wait=False)
    assert time.monotonic() - began < 5
    assert loop.run("a").owner == "trainer-9"
    # That one dies: the run is due again when its lease ends, though no record of the topic brings it.
    assert loop.runs.due(time.time() + 31.0) == [command("a")]


def test_a_handed_over_run_is_not_due(loop: Loop) -> None:
    below_a_file(loop.folder / "artifacts" / loop.dataset_name()[:2])
    loop.handle("a")
    loop.let_time_pass()
    loop.runs.lease(command("a"), "trainer-1", 30.0, time.time())
    loop.runs.let_wait("a" * 32, "trainer-1", known=False)
    assert loop.runs.due(time.time() + 3600) == []
    assert loop.run("a").tries == 0


def test_the_metric_says_what_is_missing() -> None:
    metrics = Metrics()
    metrics.trainer_blocked("files", blocked=True)
    assert metrics.registry.get_sample_value("driftloop_trainer_blocked", {"by": "files"}) == 1.0
    metrics.trainer_blocked("files", blocked=False)
    assert metrics.registry.get_sample_value("driftloop_trainer_blocked", {"by": "files"}) == 0.0
