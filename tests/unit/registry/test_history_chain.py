"""The history as a chain: whatever is changed past the registry is found, and named."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update

from driftloop.events.decisions import ModelEvent
from driftloop.registry import ArtifactStore, NewVersion, Registry, Relay, open_engine
from driftloop.registry.database import reading, writing
from driftloop.registry.history_chain import GENESIS, HistoryCheck, check_history, row_sha256, version_sha256
from driftloop.registry.outbox import OutboxRow
from driftloop.registry.tables import alias_history, aliases, history_head, model_versions

H = alias_history.c


@pytest.fixture
def used(registry: Registry) -> Registry:
    """A registry with eleven rows of history."""
    for name in ("v1", "v2"):
        registry.register_version(NewVersion(model_id="late", profile=name.encode(), lineage={"rows": 3}))
        registry.promote("late", name, "better – größer", 5, "ada")
    registry.rollback("late", "worse", 6)
    registry.register_version(NewVersion(model_id="late"))
    registry.reject("late", "v3", "not better", 7)
    registry.register_version(NewVersion(model_id="late"))
    registry.fail("late", "c" * 64, "too few rows", 8)
    return registry


def _check(engine: Engine, noted: str | None = None) -> HistoryCheck:
    with reading(engine) as connection:
        return check_history(connection, noted)


def test_the_chain_of_an_untouched_registry_is_whole(used: Registry) -> None:
    check = _check(used.engine)
    assert (check.rows, check.problem, check.broken) == (11, None, None)
    assert check.head_sha256 == used.history("late")[-1].row_sha256


def test_an_empty_history_is_whole(registry: Registry) -> None:
    assert _check(registry.engine) == HistoryCheck(0, GENESIS)


def test_the_digest_is_that_of_the_documented_text() -> None:
    """The form is fixed for good: it must not change with a release, or every registry would look tampered with."""
    row: dict[str, Any] = {
        "sequence": 1,
        "model_id": "größe",
        "alias": "champion",
        "action": "promoted",
        "subject": "v1",
        "version": "v1",
        "previous_version": None,
        "version_sha256": "a" * 64,
        "command_id": None,
        "reason": 'a "reason"\n',
        "actor": "ada",
        "event_time_ms": -5,
    }
    values = ["driftloop-history-1", GENESIS, *row.values()]
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()
    assert row_sha256(GENESIS, row) == hashlib.sha256(text).hexdigest()
    assert row_sha256(GENESIS, row) == "650d039d42d4911c9f889ab9e661fdd4aec186cddcfafb39b6e6385569c6d9fc"
    version = {
        "model_id": "m",
        "version": "v1",
        "sequence": 1,
        "artifact_uri": None,
        "artifact_sha256": None,
        "artifact_size": None,
        "profile_sha256": "b" * 64,
        "lineage": "{}",
        "metrics": "{}",
        "gates": "[]",
        "command_id": None,
        "trained_from_ms": 1,
        "trained_to_ms": 2,
        "event_time_ms": 3,
    }
    assert version_sha256(version) == "3d776dd0c22a5ae22546305f05c9bc3e3289a27e5e728b9c941524b486fb351a"


def _row(connection: Connection, sequence: int) -> Mapping[str, Any]:
    return connection.execute(select(alias_history).where(H.sequence == sequence)).one()._mapping


def _change(**values: Any) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(update(alias_history).where(H.sequence == 4).values(**values)) and None


def _change_with_its_digest(connection: Connection) -> None:
    changed = {**_row(connection, 4), "reason": "something else"}
    changed["row_sha256"] = row_sha256(changed["previous_sha256"], changed)
    connection.execute(update(alias_history).where(H.sequence == 4).values(**changed))


def _remove(*sequences: int) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(delete(alias_history).where(H.sequence.in_(sequences))) and None


def _remove_and_close_up(connection: Connection) -> None:
    connection.execute(delete(alias_history).where(H.sequence == 4))
    for sequence in range(5, 12):
        connection.execute(update(alias_history).where(H.sequence == sequence).values(sequence=sequence - 1))


def _insert_in_the_middle(connection: Connection) -> None:
    for sequence in range(11, 3, -1):
        connection.execute(update(alias_history).where(H.sequence == sequence).values(sequence=sequence + 1))
    row = {**_row(connection, 3), "sequence": 4, "previous_sha256": _row(connection, 3)["row_sha256"]}
    del row["id"]
    row["row_sha256"] = row_sha256(row["previous_sha256"], row)
    connection.execute(insert(alias_history).values(**row))


def _insert_at_the_end(connection: Connection) -> None:
    last = _row(connection, 11)
    row = {**last, "sequence": 12, "action": "promoted", "previous_sha256": last["row_sha256"]}
    del row["id"]
    row["row_sha256"] = row_sha256(row["previous_sha256"], row)
    connection.execute(insert(alias_history).values(**row))


def _insert_at_the_end_and_move_the_head(connection: Connection) -> None:
    _insert_at_the_end(connection)
    connection.execute(update(history_head).values(rows=12))


def _swap(connection: Connection) -> None:
    for old, new in ((4, 99), (5, 4), (99, 5)):
        connection.execute(update(alias_history).where(H.sequence == old).values(sequence=new))


def _move_to_the_front(connection: Connection) -> None:
    connection.execute(update(alias_history).where(H.sequence == 4).values(sequence=0))


ROWS: list[tuple[Callable[[Connection], Any], int, str]] = [
    (_change(reason="another"), 4, r"row 4 \(late v2 registered at 0 ms\) was changed"),
    (_change(actor="eve"), 4, "row 4 .* was changed"),
    (_change(event_time_ms=1), 4, "row 4 .* was changed"),
    (_change(subject="v1"), 4, "row 4 .* was changed"),
    (_change(version=None), 4, "row 4 .* was changed"),
    (_change(command_id="d"), 4, "row 4 .* was changed"),
    (_change(row_sha256="0" * 64), 4, "row 4 .* was changed"),
    (_change(previous_sha256="0" * 64), 4, "row 4 .* does not follow"),
    (_change_with_its_digest, 5, "row 5 .* does not follow the row before it"),
    (_remove(4), 4, "row 4 is missing: the next there is row 5"),
    (_remove(1), 1, "row 1 is missing"),
    (_remove(11), 11, "row 11 is missing: the chain has 11 rows, and the last there is 10"),
    (_remove(*range(1, 12)), 1, "row 1 is missing: the chain has 11 rows"),
    (_remove_and_close_up, 4, "row 4 .* does not follow"),
    (_insert_in_the_middle, 5, "row 5 .* does not follow"),
    (_insert_at_the_end, 12, "row 12 was put in: the chain ends with row 11"),
    (_insert_at_the_end_and_move_the_head, 12, "row 12 is not the one that the chain ends with"),
    (_swap, 4, "row 4 .* does not follow"),
    (_move_to_the_front, 1, "row 1 is missing: the next there is row 0"),
]


def _check_after(engine: Engine, tamper: Callable[[Connection], Any]) -> HistoryCheck:
    """What a check finds after the tampering, which is undone again."""
    with engine.connect() as connection, connection.begin() as transaction:
        tamper(connection)
        found = check_history(connection)
        transaction.rollback()
    return found


def test_what_was_done_to_a_row_is_found_and_named(used: Registry) -> None:
    for tamper, broken, sentence in ROWS:
        check = _check_after(used.engine, tamper)
        assert check.broken == broken, sentence
        assert check.problem is not None
        assert re.search(sentence, check.problem), (sentence, check.problem)
    assert _check(used.engine).problem is None


def _version(**values: Any) -> Callable[[Connection], None]:
    return lambda connection: (
        connection.execute(update(model_versions).where(model_versions.c.version == "v2").values(**values)) and None
    )


BESIDE: list[tuple[Callable[[Connection], Any], str]] = [
    (_version(artifact_sha256="0" * 64), "row 4 .* is about a version that was changed"),
    (_version(lineage='{"rows":4}'), "version that was changed"),
    (_version(gates="[ ]"), "version that was changed"),
    (_version(version="v9"), "is about a version that is gone"),
    (_version(profile=b"other"), "the reference profile of late v2 was changed"),
    (
        lambda connection: connection.execute(
            update(aliases).where(aliases.c.alias == "champion").values(version="v3")
        ),
        "the champion of late is v3, and by the history it is v1",
    ),
    (lambda connection: connection.execute(delete(aliases)), "the challenger of late is nothing"),
    (lambda connection: connection.execute(delete(history_head)), "row 1 was put in: the chain ends with row 0"),
    (
        lambda connection: connection.execute(update(history_head).values(sha256="0" * 64)),
        "row 11 is not the one that the chain ends with",
    ),
]


def test_what_was_done_to_versions_aliases_and_the_head_is_found(used: Registry) -> None:
    with writing(used.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE aliases DROP CONSTRAINT fk_aliases_model_id_version")
    for tamper, sentence in BESIDE:
        problem = _check_after(used.engine, tamper).problem
        assert problem is not None, sentence
        assert re.search(sentence, problem), (sentence, problem)
    assert _check(used.engine).problem is None


def test_a_history_written_anew_is_found_by_a_head_that_was_noted(used: Registry) -> None:
    noted = _check(used.engine).head_sha256
    used.promote("late", "v2", "again", 9)
    assert _check(used.engine, noted).problem is None
    with writing(used.engine) as connection:
        previous = GENESIS
        for sequence in range(1, _check_rows(connection) + 1):
            row = {**_row(connection, sequence), "actor": "eve", "previous_sha256": previous}
            previous = row["row_sha256"] = row_sha256(previous, row)
            connection.execute(update(alias_history).where(H.sequence == sequence).values(**row))
        connection.execute(update(history_head).values(sha256=previous))
    assert _check(used.engine).problem is None
    assert "the history was written anew" in str(_check(used.engine, noted).problem)


def _check_rows(connection: Connection) -> int:
    return int(connection.execute(select(history_head.c.rows)).scalar_one())


def test_events_tell_the_head_and_who_it_was(used: Registry) -> None:
    sent: list[OutboxRow] = []
    Relay(used.engine, sent.extend).publish_pending()
    events = [msgspec.json.decode(row.value, type=ModelEvent) for row in sent]
    digests = [row.row_sha256 for row in used.history("late")]
    told = [event.history_sha256 for event in events]
    assert told == [digests[index] for index in (0, 2, 3, 5, 6, 7, 8, 9, 10)]
    assert [event.actor for event in events[:3]] == ["driftloop", "ada", "driftloop"]


def test_writers_of_several_models_keep_one_chain(database_url: str, engine: Engine, store: ArtifactStore) -> None:
    failures: list[Exception] = []

    def work(model_id: str) -> None:
        own = open_engine(database_url)
        try:
            registry = Registry(own, store)
            registry.ensure_model(model_id, "binary", "d")
            for _ in range(6):
                name = registry.register_version(NewVersion(model_id=model_id))
                registry.promote(model_id, name, "x", 1)
        except Exception as error:  # noqa: BLE001  (a thread's failure is asserted on below)
            failures.append(error)
        finally:
            own.dispose()

    threads = [threading.Thread(target=work, args=(f"m{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    check = _check(engine)
    assert (check.rows, check.problem) == (4 * 6 * 3, None)


def test_a_transaction_that_fails_leaves_the_chain_as_it_was(used: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _check(used.engine)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("driftloop.registry._decisions.announce", fail)
    with pytest.raises(RuntimeError):
        used.promote("late", "v2", "x", 10)
    assert _check(used.engine) == before


def test_text_that_no_database_takes_is_chained_as_it_is_kept(used: Registry) -> None:
    used.promote("late", "v2", "nul \x00 and \ud800", 10, "a\x00b")
    assert _check(used.engine).problem is None
