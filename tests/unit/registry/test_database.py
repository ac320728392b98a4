"""Opening databases, their schema, and transactions that wait for each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError, OperationalError

from driftloop.registry import RegistryError, create_schema, open_engine, require_schema, schema_problem
from driftloop.registry.database import Access, insert_new, reading, writing
from driftloop.registry.migrations import VERSION_TABLE
from driftloop.registry.tables import metadata, models


def _model(name: str) -> dict[str, object]:
    return {"model_id": name, "task": "binary", "spec_digest": "d", "event_sequence": 0, "version_sequence": 0}


def test_creating_the_schema_twice_keeps_what_is_there(engine: Engine) -> None:
    with writing(engine) as connection:
        assert insert_new(connection, models, _model("late"))
    create_schema(engine)
    with reading(engine) as connection:
        assert connection.execute(select(models.c.model_id)).scalars().all() == ["late"]
    assert {*metadata.tables, VERSION_TABLE} == set(inspect(engine).get_table_names())
    assert schema_problem(engine) is None


def test_an_empty_database_says_so(database_url: str) -> None:
    assert "no tables yet" in str(schema_problem(open_engine(database_url)))


def test_two_processes_may_create_the_schema_at_once(database_url: str) -> None:
    failures: list[Exception] = []

    def create() -> None:
        engine = open_engine(database_url)
        try:
            create_schema(engine)
        except Exception as error:  # noqa: BLE001  (a thread's failure is asserted on below)
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


def test_writers_take_turns_and_none_fails(database_url: str) -> None:
    engine = open_engine(database_url)
    create_schema(engine)
    with writing(engine) as connection:
        connection.execute(insert(models).values(**_model("late")))
    failures: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(10):
                with writing(engine) as connection:
                    row = connection.execute(select(models.c.event_sequence).with_for_update()).scalar_one()
                    connection.execute(update(models).values(event_sequence=row + 1))
        except Exception as error:  # noqa: BLE001  (a thread's failure is asserted on below)
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    with reading(engine) as connection:
        assert connection.execute(select(models.c.event_sequence)).scalar_one() == 40
    engine.dispose()


def test_a_reader_does_not_wait_for_a_writer(engine: Engine) -> None:
    with writing(engine) as writer:
        writer.execute(insert(models).values(**_model("late")))
        with reading(engine) as reader:
            assert reader.execute(select(models.c.model_id)).all() == []


def test_who_only_reads_cannot_write(engine: Engine, database_url: str) -> None:
    """While somebody else writes, and when nobody has the database open any more."""
    reader = open_engine(database_url, "read")
    changer = open_engine(database_url, "change")
    for _ in range(2):
        with writing(changer) as connection:
            insert_new(connection, models, _model("late"))
            with reading(reader) as other:
                other.execute(select(models)).all()
        with pytest.raises(DBAPIError, match=r"read-?only"), writing(reader) as connection:
            connection.execute(update(models).values(event_sequence=7))
        with reading(reader) as connection:
            assert connection.execute(select(models.c.event_sequence)).scalar_one() == 0
        require_schema(reader)
        for each in (reader, changer, engine):
            each.dispose()


@pytest.mark.parametrize("access", ["read", "change"])
def test_who_does_not_create_makes_no_file(tmp_path: Path, access: Access) -> None:
    file = tmp_path / "a b" / "100% #.db"
    url = f"sqlite:///{file}"
    engine = open_engine(url, access)
    assert f"{file} is not there" in str(schema_problem(engine))
    with pytest.raises(RegistryError, match="is not there"):
        require_schema(engine)
    assert not file.parent.exists()
    made = open_engine(url)
    assert not file.parent.exists()
    create_schema(made)
    require_schema(engine)
    made.dispose()


def test_sqlites_own_uris_are_opened_as_they_say(tmp_path: Path) -> None:
    url = f"sqlite:///file:{tmp_path / 'own.db'}?nolock=0&uri=true"
    with pytest.raises(OperationalError, match="unable to open"):
        schema_problem(open_engine(url, "read"))
    assert list(tmp_path.iterdir()) == []
    made = open_engine(url)
    create_schema(made)
    made.dispose()
    reader = open_engine(url, "read")
    require_schema(reader)
    with pytest.raises(OperationalError, match="readonly"), writing(reader) as connection:
        connection.execute(insert(models).values(**_model("late")))
    reader.dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["own.db"]


def test_a_failed_transaction_leaves_nothing(engine: Engine) -> None:
    def fail() -> None:
        with writing(engine) as connection:
            connection.execute(insert(models).values(**_model("late")))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    with reading(engine) as connection:
        assert connection.execute(select(models.c.model_id)).all() == []


def test_insert_new_says_whether_it_inserted(engine: Engine) -> None:
    with writing(engine) as connection:
        assert insert_new(connection, models, _model("late"))
        assert not insert_new(connection, models, {**_model("late"), "task": "regression"})
        assert connection.execute(select(models.c.task)).scalars().all() == ["binary"]


def test_sqlite_settings(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a' / 'b.db'}")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000, "synchronous": 2}


def test_a_database_in_memory_works() -> None:
    engine = open_engine("sqlite://")
    create_schema(engine)
    assert schema_problem(engine) is None


@pytest.mark.parametrize("url", ["mysql://host/name", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(RegistryError, match=r"SQLite or PostgreSQL|cannot be read"):
        open_engine(url)


def test_postgresql_urls_get_the_driver_that_is_installed() -> None:
    for url in ("postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"):
        assert open_engine(url).url.drivername == "postgresql+psycopg"
