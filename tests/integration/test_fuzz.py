"""Malformed requests to every channel at once: none ends in a 5xx, an exception, a row or a hang, and valid messages
between them are answered. `tests/bench/bench_fuzz.py` is the long run; what it found is kept below, by name.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.telegram_platform import SECRET_HEADER
from tests.fuzz.campaign import run
from tests.fuzz.requests import Asked
from tests.fuzz.shop import ANSWER, CUSTOMERS, TELEGRAM_SECRET, Shop, open_shop, over_socketio, socketio_session
from tests.slack_people import signed

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def test_malformed_requests_change_nothing_and_hold_up_nobody(shop: Shop) -> None:
    seed = int(os.environ.get("KEFU_TEST_FUZZ_SEED", "0"))
    outcome = await run(shop, 3_000, seed)
    assert outcome.problems == []
    assert outcome.is_clean
    assert outcome.valid.keys() == CUSTOMERS.keys()
    assert set(outcome.malformed) >= {"slack", "wechat", "wechat_kf", "telegram", "rest", "web", "socketio", "files"}


# ---- what the long run found ----

TELEGRAM = ((SECRET_HEADER.lower().encode(), TELEGRAM_SECRET.encode()),)
HALF_AN_EMOJI = b"\\ud83d"


def over_telegram(body: bytes, **more: Any) -> Asked:
    return Asked(path="/webhooks/telegram/webhook", body=body, headers=TELEGRAM, **more)


def over_slack(body: str) -> Asked:
    headers = tuple((name.lower().encode(), value.encode()) for name, value in signed(body).items())
    return Asked(path="/webhooks/slack/events", body=body.encode(), headers=headers)


# Made where they are put: Slack's signature holds for five minutes, and pytest collects long before it runs.
FOUND: dict[str, tuple[Callable[[], Asked], int]] = {
    "a query that is not ASCII": (lambda: Asked(path="/demo", method="GET", query=b"a=\xd1\xbb"), 400),
    "an origin that is no address": (
        lambda: Asked(path="/webchat/brand", method="GET", headers=((b"origin", b"http://["),)),
        403,
    ),
    "half an emoji in Slack's challenge": (
        lambda: over_slack('{"type": "url_verification", "challenge": "\\ud83d"}'),
        200,
    ),
    "half an emoji in the id of a press in Telegram": (
        lambda: over_telegram(b'{"callback_query": {"id": "' + HALF_AN_EMOJI + b'"}}'),
        200,
    ),
    "an update that breaks off": (lambda: over_telegram(b'{"update_id": 1}', breaks_off=True), 400),
    "an update without end": (lambda: over_telegram(b'{"a": "' + b"x" * 300_000 + b'"}'), 413),
    "an infinite number": (
        lambda: over_telegram(
            b'{"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}, "from": {"is_bot": false}, '
            b'"text": "hello", "document": {"file_size": 1e999}}}'
        ),
        400,
    ),
}


@pytest.mark.parametrize("name", FOUND)
async def test_what_was_found_stays_mended(shop: Shop, name: str) -> None:
    make, status = FOUND[name]
    answered = await shop.ask(make())
    assert answered.error is None
    assert answered.status == status


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        (b"42{", 200),
        (b"42", 200),
        (b"42[]", 200),
        (b"4", 200),
        (b"451-[]", 200),
        (b"bAAAA", 200),
        (b"9", 400),
        (b"\xff", 400),
        (b"\x1e" * 99, 400),
        (b"4" * 140_000, 400),
    ],
)
async def test_a_packet_of_socket_io_that_cannot_be_ends_its_session_and_logs_no_error(
    shop: Shop, packet: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    query = b"EIO=4&transport=polling&sid=" + await socketio_session(shop)
    answered = await shop.ask(Asked(path="/socket.io/", query=query, body=packet))
    assert (answered.status, answered.error) == (status, None)
    assert [record.message for record in caplog.records if record.exc_info] == []
    assert await over_socketio(shop, 1) == ANSWER
