"""Rasa's REST channel over HTTP: what comes in, what goes out, and what is refused how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from connectors.base import InboundMessage
from connectors.memory import MemoryPorts
from connectors.rest import MAX_BODY_BYTES, Rest

pytestmark = pytest.mark.both_databases

PATH = "/webhooks/rest/webhook"
Answer = Callable[[InboundMessage], Sequence[Mapping[str, Any]]]


class Shop:
    """The REST channel over ports in memory, called in process."""

    def __init__(self, answer: Answer | None = None, *, deadline_s: float = 5.0, max_waiting: int = 2_000) -> None:
        self.received: list[InboundMessage] = []
        self._answer = answer or (lambda message: [{"text": f"You said {message.text}"}])
        self.ports = MemoryPorts(self._record, max_waiting)
        app = Starlette(routes=Rest(deadline_s=deadline_s).routes(self.ports))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")

    def _record(self, message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        self.received.append(message)
        return self._answer(message)

    async def post(self, body: object, **headers: str) -> httpx.Response:
        return await self.http.post(PATH, json=body, headers=headers)


def failure(response: httpx.Response) -> dict[str, Any]:
    """The error's JSON, after checking that it has Rasa's shape and tells no secrets."""
    body: dict[str, Any] = response.json()
    assert set(body) == {"status", "message", "reason", "code"}
    assert body["status"] == "failure"
    assert body["code"] == response.status_code
    assert "Traceback" not in response.text
    return body


async def test_a_turn() -> None:
    shop = Shop()
    answer = await shop.post({"sender": "anna", "message": "  hello  ", "metadata": {"page": "/lamps"}})
    assert (answer.status_code, answer.json()) == (200, [{"recipient_id": "anna", "text": "You said hello"}])
    [message] = shop.received
    assert (message.channel, message.sender_id, message.customer) == ("rest", "anna", "anna")
    assert (message.text, message.input_channel, message.metadata) == ("hello", "rest", {"page": "/lamps"})


async def test_health_as_rasa() -> None:
    answer = await Shop().http.get("/webhooks/rest/")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_turn_that_says_nothing_is_an_empty_list() -> None:
    answer = await Shop(lambda _: []).post({"sender": "anna", "message": "hello"})
    assert (answer.status_code, answer.json()) == (200, [])


async def test_several_messages_are_split_as_rasa_does() -> None:
    shop = Shop(
        lambda _: [
            {"text": "One\n\nTwo"},
            {"image": "https://a.example/x.png"},
            {"text": "?", "buttons": [{"title": "A"}]},
        ]
    )
    answer = await shop.post({"sender": "anna", "message": "hello"})
    assert answer.json() == [
        {"recipient_id": "anna", "text": "One"},
        {"recipient_id": "anna", "text": "Two"},
        {"recipient_id": "anna", "image": "https://a.example/x.png"},
        {"recipient_id": "anna", "text": "?", "buttons": [{"title": "A"}]},
    ]


async def test_streaming_is_a_json_object_a_line() -> None:
    answer = await Shop(lambda _: [{"text": "One\n\n二"}]).http.post(
        f"{PATH}?stream=TRUE", json={"sender": "a", "message": "x"}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == '{"recipient_id": "a", "text": "One"}\n{"recipient_id": "a", "text": "\\u4e8c"}\n'


@pytest.mark.parametrize(("sender", "expected"), [(None, "default"), (7, "7"), ("张伟", "张伟")])
async def test_senders_as_rasa_reads_them(sender: object, expected: str) -> None:
    answer = await Shop().post({"sender": sender, "message": "hello"})
    assert answer.json()[0]["recipient_id"] == expected


async def test_input_channel_may_be_named() -> None:
    shop = Shop()
    await shop.post({"sender": "a", "message": "x", "input_channel": "kiosk"})
    assert shop.received[0].input_channel == "kiosk"


async def test_an_identity_in_the_metadata_is_not_believed() -> None:
    shop = Shop()
    await shop.post(
        {"sender": "a", "message": "x", "metadata": {"identity": {"email": "b@c.example", "verified": True}, "page": 1}}
    )
    assert shop.received[0].metadata == {"page": 1}


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_repeated_key_is_answered_with_the_first_answer(by_header: bool) -> None:
    shop = Shop(lambda message: [{"text": f"answer {len(shop.received)}"}])
    body = {"sender": "a", "message": "x"} | ({} if by_header else {"message_id": "key-1"})
    headers = {"Idempotency-Key": "key-1"} if by_header else {}
    answers = [(await shop.post(body, **headers)).json() for _ in range(3)]
    assert answers == [[{"recipient_id": "a", "text": "answer 1"}]] * 3
    assert len(shop.received) == 1


async def test_messages_without_a_key_are_different_messages() -> None:
    shop = Shop()
    for _ in range(2):
        await shop.post({"sender": "a", "message": "x"})
    assert len(shop.received) == 2


async def test_another_senders_key_gives_nothing_away() -> None:
    shop = Shop(lambda message: [{"text": f"secret of {message.sender_id}"}])
    for sender in ("a", "b", "a" * 250, "a" * 251):
        answer = await shop.post({"sender": sender, "message": "x", "message_id": "1" * 200})
        assert answer.json() == [{"recipient_id": sender, "text": f"secret of {sender}"}]


async def test_too_late_is_a_504_and_the_key_gets_the_answer_later() -> None:
    ports = MemoryPorts()
    app = Starlette(routes=Rest(deadline_s=0.05).routes(ports))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        body = {"sender": "a", "message": "x", "message_id": "key-1"}
        late = await http.post(PATH, json=body)
        assert failure(late)["reason"] == "NoAnswerInTime"
        assert late.status_code == 504
        ports.reply(next(iter(ports.waiting)), [{"text": "at last"}])
        assert (await http.post(PATH, json=body)).json() == [{"recipient_id": "a", "text": "at last"}]


async def test_too_busy_says_when_to_come_back() -> None:
    answer = await Shop(max_waiting=0).post({"sender": "a", "message": "x"})
    assert failure(answer)["reason"] == "TooBusy"
    assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 2)


async def test_what_was_answered_is_confirmed() -> None:
    shop = Shop()
    await shop.post({"sender": "a", "message": "x"})
    async with asyncio.timeout(5):
        while not shop.ports.is_confirmed("a", 2):
            await asyncio.sleep(0)


async def test_long_messages_are_refused_clearly() -> None:
    shop = Shop()
    assert (await shop.post({"sender": "a", "message": "灯" * 4_000})).status_code == 200
    answer = await shop.post({"sender": "a", "message": "x" * 4_001})
    assert (answer.status_code, failure(answer)["reason"]) == (413, "TooLong")
    assert "4001 characters; at most 4000" in failure(answer)["message"]


async def test_large_bodies_are_not_read_to_the_end() -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1_024

    answer = await Shop().http.post(PATH, content=endless())
    assert answer.status_code == 413
    assert sent <= MAX_BODY_BYTES // 1_024 + 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 60_000, "not valid JSON"),
        (b'{"sender":"a","message":"x","metadata":{"n":NaN}}', "not valid JSON"),
        (b'{"sender":"a","message":"x","metadata":{"n":1e999}}', "not valid JSON"),
        (b'{"sender":"a","message":"x","metadata":' + b'{"a":' * 30 + b"1" + b"}" * 31, "nested deeper"),
        (b'{"sender":"a","message":"x","metadata":[1]}', "`metadata` must be an object"),
        (b'["hello"]', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"sender":"a"}', "`message`"),
        (b'{"sender":"a","message":""}', "`message` is empty"),
        (b'{"sender":"a","message":"\\u0000 \\ud800"}', "`message` is empty"),
        (b'{"sender":"a","message":["x"]}', "`message` must be a string"),
        (b'{"sender":"","message":"x"}', "`sender`"),
        (b'{"sender":{"a":1},"message":"x"}', "`sender` must be a string"),
        (b'{"sender":true,"message":"x"}', "`sender` must be a string"),
        (b'{"sender":"a\\u0000","message":"x"}', "`sender`"),
        (b'{"sender":"\\ud800","message":"x"}', "`sender`"),
        (b'{"sender":"' + b"a" * 256 + b'","message":"x"}', "`sender`"),
        (b'{"sender":"web:abc","message":"x"}', "web"),
        (b'{"sender":"a","message":"x","input_channel":{}}', "`input_channel`"),
        (b'{"sender":"a","message":"x","message_id":[1]}', "`message_id`"),
    ],
)
async def test_malformed_requests_are_400(raw: bytes, words: str) -> None:
    shop = Shop()
    answer = await shop.http.post(PATH, content=raw)
    assert answer.status_code == 400
    assert words in failure(answer)["message"]
    assert not shop.received


async def test_text_that_no_database_stores_is_cleaned() -> None:
    shop = Shop()
    raw = b'{"sender":"a","message":"A\\u0000-1\\ud83d","metadata":{"k\\u0000":["\\ud800x"]}}'
    assert (await shop.http.post(PATH, content=raw)).status_code == 200
    assert (shop.received[0].text, shop.received[0].metadata) == ("A-1", {"k": ["x"]})


VALUE = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())
)
BODIES = st.binary() | st.dictionaries(
    st.sampled_from(["sender", "message", "metadata", "input_channel", "message_id", "other"]), VALUE
).map(lambda body: json.dumps(body).encode())


@given(BODIES)
def test_no_body_is_a_500(raw: bytes) -> None:
    async def post() -> httpx.Response:
        return await Shop().http.post(PATH, content=raw)

    answer = asyncio.run(post())
    assert answer.status_code in {200, 400, 413}
    if answer.status_code != 200:
        failure(answer)
