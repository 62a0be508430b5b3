"""Slack's signature: the published example, slack_sdk's signer as the peer, and nothing that a stranger can break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from connectors.base import Unauthorized
from connectors.slack_signature import REPLAY_WINDOW_S, verify

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
# The request of Slack's page "Verifying requests from Slack".
PUBLISHED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
    b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
    b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
    b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
PUBLISHED_AT = 1531420618
PUBLISHED_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def check(body: bytes, timestamp: str | None, signature: str | None, now: float = PUBLISHED_AT) -> None:
    verify(body, timestamp, signature, secret=SECRET, now=now)


def test_the_published_example_is_slack_s() -> None:
    check(PUBLISHED, str(PUBLISHED_AT), PUBLISHED_SIGNATURE)


@pytest.mark.parametrize("late_s", [-REPLAY_WINDOW_S, REPLAY_WINDOW_S])
def test_a_request_counts_for_five_minutes(late_s: int) -> None:
    check(PUBLISHED, str(PUBLISHED_AT), PUBLISHED_SIGNATURE, PUBLISHED_AT + late_s)
    with pytest.raises(Unauthorized):
        check(PUBLISHED, str(PUBLISHED_AT), PUBLISHED_SIGNATURE, PUBLISHED_AT + late_s * 1.01)


@given(st.text())
def test_what_slack_s_own_signer_signs_is_taken(body: str) -> None:
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=str(PUBLISHED_AT), body=body.encode("utf-8"))
    check(body.encode(), str(PUBLISHED_AT), signature)


@given(st.binary(max_size=60), st.integers(0, 70))
def test_one_other_byte_is_another_request(extra: bytes, place: int) -> None:
    changed = PUBLISHED[:place] + extra + PUBLISHED[place:]
    if changed != PUBLISHED:
        with pytest.raises(Unauthorized):
            check(changed, str(PUBLISHED_AT), PUBLISHED_SIGNATURE)


@pytest.mark.parametrize("timestamp", [None, "", "abc", "1e9", "-1531420618", "١٥٣١٤٢٠٦١٨", "1" * 400, "1531420618 "])
def test_a_timestamp_that_is_none_is_refused(timestamp: str | None) -> None:
    with pytest.raises(Unauthorized):
        check(PUBLISHED, timestamp, PUBLISHED_SIGNATURE)


@pytest.mark.parametrize("signature", [None, "", "v0=", "v1=" + PUBLISHED_SIGNATURE[3:], "签名", "\udc80", "é" * 67])
def test_a_signature_that_is_none_is_refused(signature: str | None) -> None:
    with pytest.raises(Unauthorized):
        check(PUBLISHED, str(PUBLISHED_AT), signature)


@given(st.binary(), st.text(), st.text())
def test_whatever_a_stranger_sends_is_refused(body: bytes, timestamp: str, signature: str) -> None:
    with pytest.raises(Unauthorized):
        check(body, timestamp, signature)
