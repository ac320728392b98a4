"""Signatures of requests, as the Standard Webhooks specification defines them.

The headers ``webhook-id``, ``webhook-timestamp`` (seconds since 1970) and ``webhook-signature`` (``v1,`` and the base64
of HMAC-SHA256 over ``id.timestamp.body``; several, between spaces, while a key is replaced). A key is written
``whsec_`` and the base64 of 24 to 64 bytes. https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

__all__ = ["HEADERS", "TOLERANCE_S", "SignatureError", "key_of", "refusal", "signed_headers", "untimely"]

#: A request may be so much older or newer than the clock.
TOLERANCE_S = 300
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_PREFIX = "whsec_"
_SECONDS = re.compile(r"[0-9]{1,15}")
_MOST_SIGNATURES = 8


class SignatureError(ValueError):
    """The key cannot be used. The message does not repeat it."""


def key_of(secret: str) -> bytes:
    """The bytes of a key written as ``whsec_...``. Raises :class:`SignatureError`."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError("expected a key such as 'whsec_' followed by the base64 of 24 to 64 bytes") from None
    if not 24 <= len(key) <= 64:
        raise SignatureError(f"expected a key of 24 to 64 bytes after 'whsec_', as base64, got {len(key)} bytes")
    return key


def signed_headers(key: bytes, identity: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers of a request with this body."""
    signature = base64.b64encode(_digest(key, identity, str(seconds), body)).decode()
    return dict(zip(HEADERS, (identity, str(seconds), f"v1,{signature}"), strict=True))


def untimely(headers: Mapping[str, str], now: float) -> str | None:
    """Why a request is not accepted whatever its body is, None if that hangs on the body. ``headers`` in lower case;
    ``now`` in seconds since 1970."""
    identity, stamp, signatures = (headers.get(name, "") for name in HEADERS)
    if not identity or not signatures or not _SECONDS.fullmatch(stamp):
        return f"this needs the headers {', '.join(HEADERS)} of Standard Webhooks"
    if abs(now - int(stamp)) > TOLERANCE_S:
        return f"the request is signed for a time more than {TOLERANCE_S // 60} minutes from now"
    return None


def refusal(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """Why a request is not accepted, None if it is. ``headers`` in lower case; ``now`` in seconds since 1970."""
    if early := untimely(headers, now):
        return early
    identity, stamp, signatures = (headers[name] for name in HEADERS)
    expected = _digest(key, identity, stamp, body)
    fits = False
    for part in signatures.split()[:_MOST_SIGNATURES]:
        version, _, text = part.partition(",")
        try:
            given = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        # Every one is compared, so that the time says nothing about which.
        fits |= version == "v1" and hmac.compare_digest(given, expected)
    return None if fits else "the signature does not fit"


def _digest(key: bytes, identity: str, stamp: str, body: bytes) -> bytes:
    return hmac.new(key, f"{identity}.{stamp}.".encode() + body, hashlib.sha256).digest()
