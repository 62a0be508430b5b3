"""What is sent to a Rasa server once, what again, and what is said when it does not fit. The server is a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bot.errors import ConfigurationError
from bot.rasa.rasa_server import READ_ATTEMPTS, RasaRefused, RasaServer, RasaUnavailable

Answer = Callable[[httpx.Request], httpx.Response]


class Stub:
    """Answers by a function and counts what came."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer
        self.server = RasaServer("http://rasa:5005", "s3cret", httpx.MockTransport(self._take))

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)


def version(number: str, status: int = 200) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/version":
            return httpx.Response(200, json={"version": number, "minimum_compatible_version": "3.0.0"})
        return httpx.Response(status, json={"message": "No agent loaded."})

    return answer


def raising(error: type[httpx.TransportError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("gone", request=request)

    return answer


def always(status: int, body: Any) -> Answer:
    return lambda _: httpx.Response(status, json=body)


async def test_a_write_without_an_answer_is_not_sent_again() -> None:
    stub = Stub(raising(httpx.ReadTimeout))
    for write in (
        stub.server.execute("anna", "action_pay", "RulePolicy", 1.0),
        stub.server.log_message("anna", "hello", {}),
        stub.server.trigger_intent("anna", "remind", []),
        stub.server.append_events("anna", []),
    ):
        with pytest.raises(RasaUnavailable, match="gave no answer to POST /conversations/…/"):
            await write
    assert len(stub.requests) == 4


async def test_a_write_that_never_left_is_sent_once_more() -> None:
    stub = Stub(raising(httpx.ConnectError))
    with pytest.raises(RasaUnavailable):
        await stub.server.execute("anna", "action_pay", None, 1.0)
    assert len(stub.requests) == 2


async def test_reads_and_what_changes_the_same_again_are_tried_more_often() -> None:
    stub = Stub(raising(httpx.ReadTimeout))
    for read in (stub.server.tracker("anna"), stub.server.predict("anna"), stub.server.replace_events("anna", [])):
        with pytest.raises(RasaUnavailable):
            await read
    assert len(stub.requests) == 3 * READ_ATTEMPTS


async def test_a_conversation_s_id_is_one_part_of_the_path_and_in_no_message() -> None:
    stub = Stub(always(500, {"message": "boom"}))
    with pytest.raises(RasaRefused, match="with 500: boom") as refused:
        await stub.server.tracker("web:+86/135 1")
    assert stub.requests[0].url.raw_path.startswith(b"/conversations/web:%2B86%2F135%201/tracker?")
    assert "135" not in str(refused.value)


async def test_the_token_goes_with_every_request() -> None:
    stub = Stub(version("3.6.21"))
    await stub.server.check()
    assert [request.url.params["token"] for request in stub.requests] == ["s3cret", "s3cret"]


async def test_a_rasa_3_with_a_model_fits() -> None:
    assert await Stub(version("3.6.21")).server.check() == "3.6.21"


@pytest.mark.parametrize("number", ["2.8.34", "4.0.0", "1.10.2"])
async def test_another_version_is_told_what_is_needed(number: str) -> None:
    with pytest.raises(ConfigurationError, match=f"is Rasa {number}; `dialogue: rasa` needs Rasa 3.x"):
        await Stub(version(number)).server.check()


async def test_a_rasa_without_a_model_is_not_ready() -> None:
    with pytest.raises(RasaUnavailable, match="not ready \\(409\\): No agent loaded"):
        await Stub(version("3.6.21", status=409)).server.check()


async def test_a_refused_token_says_where_it_belongs() -> None:
    with pytest.raises(ConfigurationError, match=r"set `rasa_token` in kefu\.yml"):
        await Stub(version("3.6.21", status=401)).server.check()


@pytest.mark.parametrize("body", [{"hello": 1}, [], "3.6.21", {"version": 3}])
async def test_something_else_at_that_address_is_no_rasa(body: object) -> None:
    with pytest.raises(RasaRefused, match="no Rasa server"):
        await Stub(always(200, body)).server.check()


@pytest.mark.parametrize("body", [{}, {"scores": []}, {"scores": [{"action": "a", "score": 1.0}]}])
async def test_an_unreadable_prediction_is_an_error_of_the_server(body: object) -> None:
    with pytest.raises(RasaRefused, match="predicted something unreadable"):
        await Stub(always(200, body)).server.predict("anna")
