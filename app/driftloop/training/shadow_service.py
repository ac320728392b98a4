"""The thread of a trainer that compares challengers with their champions."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping

from driftloop.kafka.config import client_config
from driftloop.kafka.log_reader import Record, read_partition
from driftloop.observability.logs import get_logger
from driftloop.registry.models import Registry
from driftloop.registry.shadows import ShadowStore
from driftloop.settings import Settings
from driftloop.spec.model import ModelSpec
from driftloop.training.labeled_log import LabeledLog
from driftloop.training.maturity import Maturity
from driftloop.training.shadow_scoring import ScoringProcess
from driftloop.training.shadow_watch import ShadowWatcher

__all__ = ["start_shadow_watch"]

log = get_logger(__name__)

_EVERY_S = 2.0
_STOP_GRACE_S = 10.0


def start_shadow_watch(
    settings: Settings,
    specs: Mapping[str, ModelSpec],
    registry: Registry,
    labeled: LabeledLog,
    stopping: threading.Event,
) -> Callable[[], None]:
    """Start the thread; what is returned waits for its end once ``stopping`` is set.

    Nothing that happens in it ends the trainer: it says what is wrong and tries again, from what the database holds.
    """
    config = client_config(settings, client_id="driftloop-shadow")

    def read(start: int) -> Iterator[list[Record]]:
        return read_partition(config, settings.topics.monitor_progress, 0, start)

    watcher = ShadowWatcher(
        specs,
        registry,
        ShadowStore(registry.engine),
        labeled,
        Maturity(specs, settings.source_partitions, read),
        ScoringProcess(settings.data_dir / "trainer"),
        cancelled=stopping.is_set,
        owner=f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}",
    )

    def run() -> None:
        said = ""
        while not stopping.wait(_EVERY_S):
            try:
                watcher.turn()
            except Exception as error:  # the broker or the database may be away, and trainings go on all the same
                what = f"{type(error).__name__}: {error}"
                if what != said:
                    log.warning("comparisons wait", error=what, exc_info=error)
                said = what
            else:
                said = ""

    thread = threading.Thread(target=run, name="shadow", daemon=True)
    thread.start()
    return lambda: thread.join(_STOP_GRACE_S)
