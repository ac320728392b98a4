"""Signatures of Standard Webhooks: the specification's own vector, and whatever must not pass."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.training.handover.signature import TOLERANCE_S, SignatureError, key_of, refusal, signed_headers

# The vector of the specification's reference libraries (libraries/*/webhook test, "sign function works").
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
IDENTITY = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SECONDS = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
KEY = key_of(SECRET)
HEADERS = {"webhook-id": IDENTITY, "webhook-timestamp": str(SECONDS), "webhook-signature": SIGNATURE}


def test_the_vector_of_the_specification() -> None:
    assert signed_headers(KEY, IDENTITY, SECONDS, BODY) == HEADERS
    assert refusal(KEY, HEADERS, BODY, SECONDS) is None
    assert key_of(SECRET.removeprefix("whsec_")) == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="},
        {"webhook-signature": SIGNATURE.replace("v1,", "v2,")},
        {"webhook-signature": SIGNATURE.replace("v1,", "v1a,")},
        {"webhook-signature": SIGNATURE.removeprefix("v1,")},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,\u00e4"},
        {"webhook-signature": ""},
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(SECONDS + 1)},
        {"webhook-timestamp": f"0{SECONDS}"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "\u0661"},
        {"webhook-timestamp": ""},
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, str]) -> None:
    assert refusal(KEY, {**HEADERS, **change}, BODY, SECONDS) is not None


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_header_is_refused(name: str) -> None:
    assert refusal(KEY, {other: value for other, value in HEADERS.items() if other != name}, BODY, SECONDS)


def test_an_old_or_early_request_is_refused_though_its_signature_fits() -> None:
    for late in (TOLERANCE_S, -TOLERANCE_S):
        assert refusal(KEY, HEADERS, BODY, SECONDS + late) is None
    for late in (TOLERANCE_S + 1, -TOLERANCE_S - 1):
        assert "5 minutes" in str(refusal(KEY, HEADERS, BODY, SECONDS + late))


def test_while_a_key_is_replaced_one_of_several_signatures_is_enough() -> None:
    old = {**HEADERS, "webhook-signature": f"v1,{base64.b64encode(b'0' * 32).decode()} v1a,x {SIGNATURE}"}
    assert refusal(KEY, old, BODY, SECONDS) is None
    many = {**HEADERS, "webhook-signature": "v1,AAAA " * 8 + SIGNATURE}
    assert refusal(KEY, many, BODY, SECONDS) == "the signature does not fit"


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(min_size=24, max_size=64))
def test_only_the_body_that_was_signed_with_this_key(body: bytes, other: bytes, key: bytes) -> None:
    headers = signed_headers(key, "id", SECONDS, body)
    assert (refusal(key, headers, other, SECONDS) is None) == (body == other)
    assert (refusal(KEY, headers, body, SECONDS) is None) == (key == KEY)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "geheim", "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_\u00e4"]
)
def test_a_key_that_is_none_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(SignatureError) as caught:
        key_of(secret)
    assert "24 to 64 bytes" in str(caught.value)
    assert "geheim" not in str(caught.value)
