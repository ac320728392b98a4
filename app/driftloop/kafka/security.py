"""How connections to the broker are secured: one reading of the settings for both Kafka clients.

confluent-kafka takes keys and values, Faust's aiokafka an SSL context; both are made here, so that they agree.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftloop.settings import Settings

__all__ = ["BrokerSecurity", "broker_security"]


@dataclass(frozen=True)
class BrokerSecurity:
    """``protocol`` is Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. ``mechanism``, ``username`` and ``password``
    are set exactly for the SASL ones; certificate files are only used by the SSL ones. ``cert_file``: what this client
    shows to the broker, with ``key_file``, which ``key_password`` opens."""

    protocol: str
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    @property
    def encrypted(self) -> bool:
        return self.protocol.endswith("SSL")

    def librdkafka(self) -> dict[str, str]:
        """Keys and values for confluent-kafka. Certificates and host names are checked, which is its default."""
        config = {"security.protocol": self.protocol}
        if self.mechanism is not None:
            config["sasl.mechanism"] = self.mechanism
            config["sasl.username"] = self.username or ""
            config["sasl.password"] = self.password or ""
        if self.encrypted:
            files = {
                "ssl.ca.location": self.ca_file,
                "ssl.certificate.location": self.cert_file,
                "ssl.key.location": self.key_file,
            }
            config.update({key: str(path) for key, path in files.items() if path is not None})
            if self.key_password is not None:
                config["ssl.key.password"] = self.key_password
        return config

    def ssl_context(self) -> ssl.SSLContext | None:
        """For clients that take one; None without encryption. Certificates and host names are checked.

        Raises ``ValueError`` if a file cannot be used.
        """
        if not self.encrypted:
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except OSError as error:
            raise ValueError(f"DRIFTLOOP_SSL_CA_FILE {self.ca_file} cannot be used: {_reason(error)}") from None
        if self.cert_file is not None:
            # Never None for the password: OpenSSL would ask on the terminal for that of an encrypted key.
            password = self.key_password or ""
            try:
                context.load_cert_chain(self.cert_file, self.key_file, lambda: password)
            except OSError as error:
                raise ValueError(
                    f"DRIFTLOOP_SSL_CERT_FILE {self.cert_file} with DRIFTLOOP_SSL_KEY_FILE {self.key_file} cannot be "
                    f"used: {_reason(error)}; is DRIFTLOOP_SSL_KEY_PASSWORD right, and do they belong together?"
                ) from None
        return context


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def broker_security(settings: Settings) -> BrokerSecurity:
    """The settings, checked. Raises ``ValueError`` that says which to set."""
    protocol = settings.security_protocol
    mechanism = username = password = None
    if protocol.startswith("SASL"):
        if not settings.sasl_username or settings.sasl_password is None:
            raise ValueError(
                f"security protocol {protocol} needs DRIFTLOOP_SASL_USERNAME and DRIFTLOOP_SASL_PASSWORD (or "
                "DRIFTLOOP_SASL_PASSWORD_FILE): set both, or set DRIFTLOOP_SECURITY_PROTOCOL to one without SASL"
            )
        mechanism, username = settings.sasl_mechanism, settings.sasl_username
        password = settings.sasl_password.get_secret_value()
    if not protocol.endswith("SSL"):
        return BrokerSecurity(protocol, mechanism, username, password)
    if (settings.ssl_cert_file is None) != (settings.ssl_key_file is None):
        raise ValueError("DRIFTLOOP_SSL_CERT_FILE and DRIFTLOOP_SSL_KEY_FILE belong together: set both or neither")
    for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise ValueError(f"DRIFTLOOP_{name.upper()} {path} is not a file")
    key_password = settings.ssl_key_password
    return BrokerSecurity(
        protocol,
        mechanism,
        username,
        password,
        settings.ssl_ca_file,
        settings.ssl_cert_file,
        settings.ssl_key_file,
        None if key_password is None else key_password.get_secret_value(),
    )
