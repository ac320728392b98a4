"""How commands open the database, and what they say when it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from driftloop.registry import RegistryError, open_engine
from driftloop.registry.database import what_it_said
from driftloop.settings import Settings

__all__ = ["call", "fail", "opened"]

T = TypeVar("T")


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The database of the settings, as it is."""
    engine = open_engine(settings.resolved_database_url)
    try:
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
        fail(f"the database did not answer ({what_it_said(error)}); check DRIFTLOOP_DATABASE_URL", code)


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what is wrong and end with this exit code."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
