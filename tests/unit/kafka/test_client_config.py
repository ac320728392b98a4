from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftloop.kafka.config import client_config, without_secrets
from driftloop.settings import Settings


def settings(**fields: Any) -> Settings:
    return Settings(_env_file=None, **fields)


def test_plain_connection_and_extras() -> None:
    config = client_config(settings(bootstrap="a:1,b:2"), client_id="trainer", group_id="g")
    assert config["bootstrap.servers"] == "a:1,b:2"
    assert config["security.protocol"] == "PLAINTEXT"
    assert (config["client.id"], config["group.id"]) == ("trainer", "g")
    assert not any(key.startswith("sasl") for key in config)


def test_sasl_and_tls_are_passed_on_and_secrets_masked(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    config = client_config(
        settings(
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="me",
            sasl_password="geheim",
            ssl_ca_file=authority,
        )
    )
    assert (config["sasl.mechanism"], config["sasl.username"], config["sasl.password"]) == (
        "SCRAM-SHA-512",
        "me",
        "geheim",
    )
    assert config["ssl.ca.location"] == str(authority)
    assert "geheim" not in str(without_secrets(config))


def test_sasl_without_password_says_what_to_set() -> None:
    with pytest.raises(ValueError, match="DRIFTLOOP_SASL_PASSWORD"):
        client_config(settings(security_protocol="SASL_SSL", sasl_username="me"))
