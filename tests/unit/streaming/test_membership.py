"""Readiness by consumer group: joining, rebuilding, ready, handing over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from faust.types import TP

from driftloop.events.batch import RecordBatch
from driftloop.settings import Settings
from driftloop.streaming.app import Membership, build_app


class Rebuilding:
    """A service that takes its time."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def assign(self, partitions: Iterable[int]) -> None:
        await self.go_on.wait()

    async def revoke(self, partitions: Iterable[int]) -> None: ...

    async def take(self, batch: RecordBatch) -> None: ...


async def test_a_member_is_ready_when_all_that_it_was_given_is_rebuilt(tmp_path: Path) -> None:
    service, membership = Rebuilding(), Membership()
    app = build_app(Settings(data_dir=tmp_path), "monitor", ["t", "u"], service, web_port=6066, membership=membership)
    assert membership() == "the consumer group has not been joined yet"
    joining = asyncio.create_task(app.on_partitions_assigned.send({TP("t", 1), TP("u", 1), TP("t", 0)}))
    await asyncio.sleep(0.01)
    assert membership() == "rebuilding the state of partitions [0, 1]"
    service.go_on.set()
    await joining
    assert membership() is None
    await app.on_partitions_revoked.send({TP("t", 1)})
    assert membership() == "partitions are being handed out anew"
    # Others may have all the partitions: it stands by, and takes over when one of them is gone.
    await app.on_partitions_assigned.send(set())
    assert membership() is None
