"""How commands open the database, and what they say when it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from driftloop.registry import RegistryError, create_schema, open_engine, require_schema
from driftloop.registry.database import Access, what_it_said
from driftloop.settings import Settings

__all__ = ["call", "did_not_answer", "fail", "opened"]

T = TypeVar("T")


@contextmanager
def opened(settings: Settings, access: Access) -> Iterator[Engine]:
    """The database of the settings, with the tables of this driftloop.

    ``access``: a command that only reads says ``read``, one that changes what is there ``change``; ``create`` is for
    those that may be the first. Only the last makes file and tables; the others raise :class:`RegistryError` that says
    what to do where they are missing, or of another revision.
    """
    engine = open_engine(settings.resolved_database_url, access)
    try:
        if access == "create":
            create_schema(engine)
        else:
            require_schema(engine)
        yield engine
    finally:
        engine.dispose()


def call(action: Callable[[], T], code: int = 1) -> T:
    """What the action gives; an error that a person can mend is one sentence and this exit code."""
    try:
        return action()
    except (RegistryError, ValueError) as error:
        fail(str(error), code)
    except OSError as error:  # a folder or an object store that cannot be used
        fail(str(error), code)
    except SQLAlchemyError as error:
        fail(did_not_answer(error), code)


def did_not_answer(error: SQLAlchemyError) -> str:
    """The sentence for a database that cannot be reached, or is none."""
    return f"the database did not answer ({what_it_said(error)}); check DRIFTLOOP_DATABASE_URL"


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what is wrong and end with this exit code."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
