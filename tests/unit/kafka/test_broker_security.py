"""Both Kafka clients secure their connections in the same way, from the same settings."""

from __future__ import annotations

import itertools
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from driftloop.kafka.config import client_config
from driftloop.kafka.security import broker_security
from driftloop.settings import Settings
from driftloop.streaming.app import broker_credentials

KEY_PASSWORD = "the key's password"


def settings(**fields: Any) -> Settings:
    return Settings(_env_file=None, **fields)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates by it of a broker on 127.0.0.1 and of a client, whose key has a password."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
    run("req", "-x509", *curve, "-noenc", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    by_it = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    names = ("-addext", "subjectAltName=IP:127.0.0.1")
    run(
        "req",
        "-x509",
        *curve,
        "-noenc",
        "-keyout",
        "broker.key",
        "-out",
        "broker.pem",
        "-subj",
        "/CN=b",
        *by_it,
        *names,
    )
    protected = ("-passout", f"pass:{KEY_PASSWORD}", "-keyout", "client.key", "-out", "client.pem")
    run("req", "-x509", *curve, *protected, "-subj", "/CN=the client", *by_it)
    return folder


def _secured(certificates: Path, protocol: str, sasl: bool, authority: bool, client: bool) -> Settings:
    fields: dict[str, Any] = {"security_protocol": protocol}
    if sasl:
        fields |= {"sasl_username": "me", "sasl_password": "geheim", "sasl_mechanism": "SCRAM-SHA-256"}
    if authority:
        fields |= {"ssl_ca_file": certificates / "ca.pem"}
    if client:
        fields |= {
            "ssl_cert_file": certificates / "client.pem",
            "ssl_key_file": certificates / "client.key",
            "ssl_key_password": KEY_PASSWORD,
        }
    return settings(**fields)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_the_clients_agree_whatever_is_set(certificates: Path, protocol: str) -> None:
    for sasl, authority, client in itertools.product([False, True], repeat=3):
        chosen = _secured(certificates, protocol, sasl, authority, client)
        if protocol.startswith("SASL") and not sasl:
            for make in (client_config, broker_credentials):
                with pytest.raises(ValueError, match="DRIFTLOOP_SASL_PASSWORD_FILE"):
                    make(chosen)
            continue
        config, auth = client_config(chosen), credentials_to_aiokafka_auth(broker_credentials(chosen))
        assert config["security.protocol"] == auth["security_protocol"] == protocol
        assert config.get("sasl.mechanism") == auth.get("sasl_mechanism")
        assert config.get("sasl.username") == auth.get("sasl_plain_username")
        assert config.get("sasl.password") == auth.get("sasl_plain_password")
        assert ("sasl.password" in config) == protocol.startswith("SASL")
        context = auth.get("ssl_context")
        assert (context is not None) == protocol.endswith("SSL")
        assert ("ssl.ca.location" in config) == (authority and context is not None)
        assert ("ssl.key.location" in config) == ("ssl.certificate.location" in config) == (client and bool(context))
        if context is not None:
            assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
            own = [found for found in context.get_ca_certs() if found["subject"] == ((("commonName", "authority"),),)]
            assert len(own) == authority
            if authority:
                assert len(context.get_ca_certs()) == 1, "only the given authority is trusted"


@contextmanager
def _listener(certificates: Path) -> Iterator[tuple[int, list[str]]]:
    """A TLS server that wants a client certificate; gives its port, and the names or errors of who connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "broker.pem", certificates / "broker.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    seen: list[str] = []

    def serve() -> None:
        while True:
            try:
                raw, _ = server.accept()
            except OSError:
                return
            raw.settimeout(5)
            try:
                with context.wrap_socket(raw, server_side=True) as connection:
                    seen.append(str(dict(pair[0] for pair in connection.getpeercert()["subject"])["commonName"]))  # type: ignore[index,misc]
            except (OSError, ssl.SSLError) as error:
                seen.append(type(error).__name__)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], seen


def test_both_clients_show_their_certificate_and_check_the_brokers(certificates: Path) -> None:
    chosen = _secured(certificates, "SSL", False, True, True)
    with _listener(certificates) as (port, seen):
        context = broker_security(chosen).ssl_context()
        assert context is not None
        with socket.create_connection(("127.0.0.1", port), 5) as raw:
            context.wrap_socket(raw, server_hostname="127.0.0.1").close()
        _until(seen)
        assert seen == ["the client"]
        seen.clear()
        admin = AdminClient(client_config(chosen.model_copy(update={"bootstrap": f"127.0.0.1:{port}"})))
        for _ in range(50):
            admin.poll(0.1)
            if seen:
                break
        assert seen[:1] == ["the client"]


def _until(seen: list[str]) -> None:
    for _ in range(100):
        if seen:
            return
        threading.Event().wait(0.05)


def test_files_that_cannot_be_used_are_named_without_the_password(certificates: Path, tmp_path: Path) -> None:
    wrong = _secured(certificates, "SSL", False, True, True).model_copy(
        update={"ssl_key_password": settings(ssl_key_password="wrong one").ssl_key_password}
    )
    with pytest.raises(ValueError, match="DRIFTLOOP_SSL_KEY_PASSWORD right") as caught:
        broker_credentials(wrong)
    assert "wrong one" not in str(caught.value)
    missing = settings(security_protocol="SSL", ssl_ca_file=tmp_path / "no.pem")
    one_of_two = settings(security_protocol="SSL", ssl_cert_file=certificates / "client.pem")
    (tmp_path / "bad.pem").write_text("not a certificate")
    for make in (client_config, broker_credentials):
        with pytest.raises(ValueError, match=r"DRIFTLOOP_SSL_CA_FILE .*no\.pem is not a file"):
            make(missing)
        with pytest.raises(ValueError, match="belong together"):
            make(one_of_two)
    with pytest.raises(ValueError, match=r"DRIFTLOOP_SSL_CA_FILE .*bad\.pem cannot be used"):
        broker_credentials(settings(security_protocol="SSL", ssl_ca_file=tmp_path / "bad.pem"))


def test_passwords_are_in_no_representation(certificates: Path) -> None:
    chosen = _secured(certificates, "SASL_SSL", True, True, True)
    shown = repr(broker_security(chosen)) + repr(broker_credentials(chosen)) + repr(chosen)
    assert "geheim" not in shown
    assert KEY_PASSWORD not in shown
