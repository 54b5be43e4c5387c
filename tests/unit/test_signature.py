"""The lean-signature header."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest

from leanflow._lean.signature import find_header, sign, verify
from leanflow.errors import InvalidRequest

_RAW = b'{"type":"results.ready","payload":{"id":"1"}}'
_SECRET = "whsec-1"


def test_sign_is_hmac_sha512_over_the_raw_bytes_in_lower_case_hex() -> None:
    """The value is what the standard library computes by another way."""
    expected = hmac.new(_SECRET.encode(), _RAW, hashlib.sha512).hexdigest()
    assert sign(_SECRET, _RAW) == "sha512=" + expected


def test_a_known_vector_holds() -> None:
    """RFC 4231, test case 2: a vector that nobody here computed."""
    expected = (
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b"
        "636e070a38bce737"
    )
    assert sign("Jefe", b"what do ya want for nothing?") == "sha512=" + expected


def test_hex_of_either_case_is_taken() -> None:
    """Lean never says which case it sends."""
    prefix, digest = sign(_SECRET, _RAW).split("=")
    assert verify(_RAW, f"{prefix}={digest.upper()}", [_SECRET])
    assert verify(_RAW, f"{prefix}={digest}", _SECRET)


def test_each_of_several_secrets_is_accepted() -> None:
    """During a rotation the old and the new secret both count, wherever they stand."""
    secrets = ["new", "old", "older"]
    for secret in secrets:
        assert verify(_RAW, sign(secret, _RAW), secrets)
    assert not verify(_RAW, sign("other", _RAW), secrets)


def test_every_secret_is_compared_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long verifying takes does not tell which secret matched."""
    compared = []
    compare = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        compared.append(1)
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    assert verify(_RAW, sign("a", _RAW), ["a", "b", "c"])
    assert len(compared) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda _: "",
        lambda _: "sha512=",
        lambda s: s.removeprefix("sha512="),
        lambda s: s.replace("sha512", "SHA512"),
        lambda s: s.replace("sha512", "sha256"),
        lambda s: s[:-1],
        lambda s: s + "0",
        lambda s: s + "\n",
        lambda s: " " + s,
        lambda s: s + ", " + s,
        lambda s: s + "," + s,
        lambda s: s[:20] + "é" + s[21:],
        lambda s: s[:20] + "\ud800" + s[21:],
        lambda s: s[:20] + "٣" + s[21:],
        lambda s: s[:20] + " " + s[21:],
        lambda _: "sha512=" + "0" * 128,
    ],
)
def test_a_header_in_any_other_shape_is_refused(change: Callable[[str], str | None]) -> None:
    """No prefix, another prefix, too short, too long, twice, or not hex: False, never an error."""
    assert verify(_RAW, change(sign(_SECRET, _RAW)), [_SECRET]) is False


def test_a_changed_body_is_refused() -> None:
    """One more space, as re-serialising makes, breaks the signature."""
    assert not verify(_RAW.replace(b":", b": "), sign(_SECRET, _RAW), [_SECRET])


@pytest.mark.parametrize("secrets", [[], "", [""], ["  "], ["good", ""], [None]])
def test_no_secret_or_an_empty_one_is_refused(secrets: list[str]) -> None:
    """An empty secret would let everybody in who knows that it is empty."""
    with pytest.raises(InvalidRequest) as caught:
        verify(_RAW, sign(_SECRET, _RAW), secrets)
    assert caught.value.parameter == "secrets"


def test_signing_with_an_empty_secret_is_refused() -> None:
    """The same on the sending side."""
    with pytest.raises(InvalidRequest):
        sign("", _RAW)


def test_a_header_is_found_whatever_the_case_of_its_name() -> None:
    """Frameworks keep the names of headers in different cases; two of one name are joined, and then refused."""
    signature = sign(_SECRET, _RAW)
    assert find_header({"Content-Type": "x", "Lean-Signature": signature}) == signature
    assert find_header({"LEAN-SIGNATURE": signature}) == signature
    assert find_header({"signature": signature}) is None
    twice = find_header({"Lean-Signature": signature, "lean-signature": signature})
    assert twice == f"{signature}, {signature}"
    assert not verify(_RAW, twice, [_SECRET])
