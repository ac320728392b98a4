"""Settings: secrets from files, and where the process listens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from driftloop.demo import run
from driftloop.settings import Settings, SettingsError, secret_settings
from driftloop.streaming.app import build_app

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def _settings(**fields: Any) -> Settings:
    return Settings(_env_file=None, **fields)


def test_every_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"sasl_password", "database_url", "ssl_key_password"} <= set(secret_settings())
    for name in secret_settings():
        file = tmp_path / name
        file.write_text(f"postgresql://me:of {name}@host/db\n")
        monkeypatch.setenv(f"DRIFTLOOP_{name.upper()}_FILE", str(file))
    settings = _settings()
    for name in secret_settings():
        value = getattr(settings, name)
        assert value.get_secret_value() == f"postgresql://me:of {name}@host/db"
        assert "of " not in str(settings)
    assert settings.resolved_database_url == "postgresql://me:of database_url@host/db"


def test_a_file_named_in_dotenv(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\r\n")
    (tmp_path / ".env").write_text(f"DRIFTLOOP_SASL_PASSWORD_FILE={tmp_path / 'password'}\n")
    password = Settings(_env_file=tmp_path / ".env").sasl_password  # type: ignore[call-arg]
    assert password is not None
    assert password.get_secret_value() == "geheim"


def test_an_empty_file_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"DRIFTLOOP_DATABASE_URL_FILE={tmp_path / 'url'}\n")
    for name in Settings.model_fields:
        if name.endswith("_file"):
            monkeypatch.setenv(f"DRIFTLOOP_{name.upper()}", "")
    settings = Settings(_env_file=tmp_path / ".env")  # type: ignore[call-arg]
    assert [getattr(settings, name) for name in Settings.model_fields if name.endswith("_file")] == [None] * 10


def test_the_demo_uses_its_own_database_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("postgresql://me:geheim@production/db")
    monkeypatch.setenv("DRIFTLOOP_DATABASE_URL_FILE", str(tmp_path / "url"))
    settings, environment = run._settings(tmp_path, "127.0.0.1:9")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for found in (settings, _settings()):
        assert found.resolved_database_url == f"sqlite:///{tmp_path / 'driftloop.db'}"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "it is not UTF-8 text")],
)
def test_files_without_a_secret_are_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"DRIFTLOOP_SASL_PASSWORD_FILE .*password.* {sentence}"):
        _settings(sasl_password_file=file)


def test_a_secret_twice_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("geheim-1")
    monkeypatch.setenv("DRIFTLOOP_SASL_PASSWORD", "geheim-2")
    monkeypatch.setenv("DRIFTLOOP_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(ValueError, match="are both set; keep one") as caught:
        _settings()
    assert "geheim" not in str(caught.value)


def test_a_secret_in_the_wrong_place_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOOP_WEB_PORT", "geheim")
    monkeypatch.setenv("DRIFTLOOP_SECURITY_PROTOCOL", "geheim")
    with pytest.raises(ValueError, match="DRIFTLOOP_WEB_PORT") as caught:
        _settings()
    assert "geheim" not in str(caught.value)


def test_secrets_in_all_their_forms() -> None:
    settings = _settings(
        sasl_password="a b", database_url="postgresql://me:p%40ss@host/db?sslpassword=inner&sslmode=require"
    )
    assert set(settings.secrets()) == {"a b", "a%20b", "p%40ss", "p@ss", "p%2540ss", "inner"}
    assert _settings().secrets() == []
    assert _settings(database_url="sqlite:///a.db").secrets() == []


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `DRIFTLOOP_([A-Z_]+)` \|", DOCS.read_text(), re.M))
    assert documented == {name.upper() for name in Settings.model_fields}


def test_ports_listen_on_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    """Faust's own web server is off; were it switched on, it would listen there too."""

    class Nothing:
        async def assign(self, partitions: object) -> None: ...

        async def revoke(self, partitions: object) -> None: ...

        async def take(self, batch: object) -> None: ...

    assert _settings().web_host == "127.0.0.1"
    for host in ("127.0.0.1", "0.0.0.0"):
        settings = _settings(web_host=host, data_dir=tmp_path)
        app = build_app(settings, "monitor", ["t"], Nothing(), web_port=6066)
        assert (app.conf.web_enabled, app.conf.web_bind) == (False, host)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("metrics_port", "abc", "DRIFTLOOP_METRICS_PORT: input should be a valid integer"),
        ("log_level", "loud", "DRIFTLOOP_LOG_LEVEL: input should be 'debug', 'info', 'warning' or 'error'"),
        ("topic_prefix", "a b", "DRIFTLOOP_TOPIC_PREFIX: string should match pattern"),
    ],
)
def test_a_refused_setting_is_named_as_its_variable_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"DRIFTLOOP_{name.upper()}", value)
    with pytest.raises(SettingsError) as refused:
        Settings(_env_file=None)  # type: ignore[call-arg]
    assert str(refused.value).startswith(said)
    assert value not in str(refused.value).removeprefix(said)
    assert "pydantic" not in str(refused.value)
