"""What driftloop shows to orchestrators, and what results are signed with: from settings and files, never a spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from driftloop.settings import Settings
from driftloop.training.handover.signature import key_of

__all__ = ["Credentials", "CredentialsError", "Keyring"]

_PARTS = ("token", "username", "password", "key")
_VARIABLES = "DRIFTLOOP_HANDOVER_"


class CredentialsError(ValueError):
    """Something is missing or cannot be used. The message says what to set."""


@dataclass(frozen=True)
class Credentials:
    """Those of one orchestrator. ``key`` signs requests to a webhook, and results from everybody; ``where`` says where
    they are set."""

    where: str
    token: str | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    key_text: str | None = field(default=None, repr=False)

    def place(self, part: str) -> str:
        """Where a part is set: a variable or a file."""
        return _place(self.where, part)

    def missing_for(self, to: str) -> str | None:
        """Why nothing can be handed over with these; None if it can."""
        if to == "webhook" and self.key is None:
            return f"a webhook is signed, and there is no key: set {self.place('key')}"
        if to == "airflow" and self.token is None and (self.username is None or self.password is None):
            return (
                f"Airflow wants a token, or a user and a password: set {self.place('token')}, or "
                f"{self.place('username')} and {self.place('password')}"
            )
        return None

    def secrets(self) -> list[str]:
        """Texts that must not be shown."""
        found = (self.token, self.password, self.key_text)
        return [text for text in found if text]


class Keyring:
    """The credentials of a deployment: its own, and those that specs name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def named(self, name: str | None) -> Credentials:
        """Read anew each time, so that a replaced file counts at once. Raises :class:`CredentialsError`."""
        if name is None:
            return self._own()
        folder = self._settings.handover_secrets
        if folder is None:
            raise CredentialsError(
                f"training.handover.credentials is {name!r}, and DRIFTLOOP_HANDOVER_SECRETS names no folder with "
                f"files such as {name}.token and {name}.key"
            )
        parts = {part: _content(folder / f"{name}.{part}") for part in _PARTS}
        if not any(parts.values()):
            raise CredentialsError(
                f"there is no {name}.token, {name}.username, {name}.password or {name}.key in {folder}"
            )
        return _made(f"{folder / name}.", parts)

    def keys(self) -> Iterator[bytes]:
        """Every key that there is."""
        folder = self._settings.handover_secrets
        names: list[str | None] = [None]
        if folder is not None and folder.is_dir():
            names += sorted(path.stem for path in folder.glob("*.key"))
        for name in names:
            key = self.named(name).key
            if key is not None:
                yield key

    def _own(self) -> Credentials:
        settings = self._settings
        secrets = {
            part: None if value is None else value.get_secret_value() or None
            for part, value in (
                ("token", settings.handover_token),
                ("password", settings.handover_password),
                ("key", settings.handover_key),
            )
        }
        return _made(_VARIABLES, {**secrets, "username": settings.handover_username})


def _made(where: str, parts: dict[str, str | None]) -> Credentials:
    text = parts.get("key")
    try:
        key = None if text is None else key_of(text)
    except ValueError as error:
        raise CredentialsError(f"{_place(where, 'key')}: {error}") from None
    for part in ("token", "username"):
        if not (parts.get(part) or "").isprintable():
            raise CredentialsError(f"{_place(where, part)} has characters that cannot be sent")
    return Credentials(
        where,
        token=parts.get("token"),
        username=parts.get("username"),
        password=parts.get("password"),
        key=key,
        key_text=text,
    )


def _place(where: str, part: str) -> str:
    return where + (part.upper() if where == _VARIABLES else part)


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n") or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path} cannot be read: {type(error).__name__}") from None
