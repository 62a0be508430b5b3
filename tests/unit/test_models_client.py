"""The client of models that serve elsewhere, before servers that answer, fail, hang, refuse and are gone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bot.app import understander_of
from bot.errors import ConfigurationError
from bot.settings import load_settings
from models.base import Entity, IntentScore, ModelUnavailable, ReadingFailed, Understanding
from models.client import OPEN_S, OPENS_AFTER, RemoteUnderstander, urls_of
from models.registry import Registry
from models.runtime import ServingStatus
from models.wire import BROKE, Report, read_texts, write_problem, write_readings, write_report
from tests.server import free_port

Answer = tuple[int, bytes]


def reading(text: str) -> Understanding:
    return Understanding(
        text=text,
        ranking=(IntentScore(name="greet", confidence=0.1 + 0.2), IntentScore(name="bye", confidence=1e-17)),
        out_of_scope_score=-1 / 3,
        is_out_of_scope=False,
        sentiment="neutral",
        sentiment_confidence=1 / 7,
        language="en",
        model_version="v1",
        entities=(
            Entity(entity="time", value={"from": None, "to": "2026-11-29"}, start=0, end=1, additional_info={"n": [1]}),
        ),
        also=(IntentScore(name="bye", confidence=0.5),),
        selected={"faq": (IntentScore(name="faq/hours", confidence=1.0),)},
        latency_ms=0.123456789,
    )


def good(texts: list[str]) -> Answer:
    return 200, write_readings([reading(text) for text in texts])


class Server:
    """Answers each reading as it is told; remembers the texts of each request."""

    def __init__(self) -> None:
        self.answer: Callable[[list[str]], Answer] = good
        self.asked: list[list[str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                texts = read_texts(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append(texts)
                self.send(*outer.answer(texts))

            def do_GET(self) -> None:
                status = ServingStatus(version="v1", wanted="v1", is_loading=False, problem=None, waiting=0)
                self.send(200, write_report(Report(replica="r1", node="n", pid=1, replicas=1, status=status)))

            def send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/tiny"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def in_turn(self, *answers: Answer) -> None:
        """These first, then good ones."""
        left = iter(answers)
        self.answer = lambda texts: next(left, None) or good(texts)

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


def gone() -> str:
    """A URL where nobody listens."""
    return f"http://127.0.0.1:{free_port()}/tiny"


async def test_a_reading_arrives_as_it_left(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    odd = ["", "我想退货 👍", "half a pair: \ud83d", "a\x00b"]
    for text in odd:
        assert await client.understand([text]) == [reading(text)]
    await client.stop()


async def test_what_comes_together_travels_together_and_within_bounds(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    texts = [f"message {number}" for number in range(200)]
    readings = await asyncio.gather(*(client.understand([text]) for text in texts))
    assert [one.text for [one] in readings] == texts
    assert sorted(text for asked in server.asked for text in asked) == sorted(texts)
    assert len(server.asked) <= 20
    await client.stop()


async def test_a_try_that_failed_is_made_again_once(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    server.in_turn((500, b"the replica died"))
    assert (await client.understand(["hello"]))[0].text == "hello"
    assert server.asked == [["hello"], ["hello"]]
    server.in_turn((500, b""), (500, b""))
    with pytest.raises(ModelUnavailable, match="answered 500"):
        await client.understand(["hello"])
    assert len(server.asked) == 4
    await client.stop()


async def test_after_failures_in_a_row_readings_are_refused_at_once_until_a_trial_succeeds(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    server.answer = lambda texts: (502, b"")
    for _ in range(OPENS_AFTER):
        with pytest.raises(ModelUnavailable, match="answered 502"):
            await client.understand(["hello"])
    asked = len(server.asked)
    with pytest.raises(ModelUnavailable, match="do not answer"):
        await client.understand(["hello"])
    assert len(server.asked) == asked
    assert client.status().is_refusing
    server.answer = good
    deadline = time.monotonic() + 10
    while client.status().is_refusing and time.monotonic() < deadline:
        try:
            await client.understand(["hello"])
        except ModelUnavailable:
            await asyncio.sleep(OPEN_S / 10)
    assert (await client.understand(["hello"]))[0].text == "hello"
    await client.stop()


async def test_a_full_queue_elsewhere_is_told_and_neither_tried_again_nor_an_outage(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    server.answer = lambda texts: (503, write_problem("4096 messages wait for the model already; try again later"))
    for _ in range(OPENS_AFTER + 1):
        with pytest.raises(ModelUnavailable, match="4096 messages wait"):
            await client.understand(["hello"])
    assert len(server.asked) == OPENS_AFTER + 1
    server.answer = lambda texts: (503, b"Request dropped due to backpressure")  # of the proxy, not of a replica
    with pytest.raises(ModelUnavailable, match="takes no readings now"):
        await client.understand(["hello"])
    assert not client.status().is_refusing
    await client.stop()


async def test_a_text_that_breaks_the_model_fails_alone(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    server.answer = lambda texts: (BROKE, write_problem("the model broke")) if "broken" in texts else good(texts)
    said = await asyncio.gather(*(client.understand([t]) for t in ("a", "broken", "b")), return_exceptions=True)
    assert isinstance(said[1], ReadingFailed)
    assert [one[0].text for one in said if isinstance(one, list)] == ["a", "b"]
    await client.stop()


async def test_a_server_that_hangs_costs_bounded_time(server: Server) -> None:
    client = RemoteUnderstander([server.url], timeout_s=0.4)
    release = threading.Event()

    def hang(texts: list[str]) -> Answer:
        release.wait(10)
        return good(texts)

    server.answer = hang
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match="no answer"):
        await client.understand(["hello"])
    assert time.monotonic() - began < 5
    release.set()
    await client.stop()


async def test_of_two_addresses_the_one_that_is_gone_is_passed_over(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = RemoteUnderstander([gone(), server.url])
    for number in range(6):
        assert (await client.understand([str(number)]))[0].text == str(number)
    assert [record.getMessage() for record in caplog.records].count("models.asked_again") == 1  # then it is known
    await client.stop()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'[{"text": "hello"}]', write_readings([reading("another")])])
async def test_an_answer_of_something_else_is_no_reading(server: Server, body: bytes) -> None:
    client = RemoteUnderstander([server.url])
    server.answer = lambda texts: (200, body)
    with pytest.raises(ModelUnavailable, match=r"holds no readings|about other texts"):
        await client.understand(["hello"])
    await client.stop()


async def test_the_status_names_what_serves_and_who_does_not_answer(server: Server) -> None:
    client = RemoteUnderstander([server.url])
    await client.start()
    status = client.status()
    assert (client.version, status.is_ready, status.replicas, status.problem) == ("v1", True, 1, None)
    await client.stop()
    url = gone()
    away = RemoteUnderstander([url])
    await away.start()
    assert (away.version, away.status().is_ready) == ("", False)
    assert f"nobody answers at {url}" in (away.status().problem or "")
    await away.stop()


# ---- where models serve ----


def test_addresses_are_read_and_anything_else_is_refused_by_name() -> None:
    assert urls_of("ray://models:8800", "shop") == ("http://models:8800/shop",)
    assert urls_of("ray://a:1, b:2/", "s") == ("http://a:1/s", "http://b:2/s")
    assert urls_of("ray://[::1]:8800", "s") == ("http://[::1]:8800/s",)
    for wrong in (
        "http://models:8800",
        "ray://",
        "ray://models",
        "ray://a:1,",
        "ray://a:1/x",
        "ray://a:99999",
        "ray://u:p@a:1",
    ):
        with pytest.raises(ValueError, match="ray://"):
            urls_of(wrong, "shop")


def test_a_wrong_setting_names_the_variable(tmp_path: object) -> None:
    settings = load_settings(home=tmp_path, models="grpc://x")
    with pytest.raises(ConfigurationError, match="KEFU_MODELS"):
        understander_of(settings, Registry(settings.models_dir, "shop"))


def test_the_client_needs_no_ray() -> None:
    program = (
        "import sys, bot.app, models.serving; from models.client import RemoteUnderstander; "
        "RemoteUnderstander(['http://127.0.0.1:1/x']); print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_ray_the_command_says_what_to_install(tmp_path: object) -> None:
    program = (
        "import sys, json; sys.modules['ray'] = None\n"
        "from pathlib import Path\n"
        "from models.serving import Plan, RayMissing, deployed\n"
        "plan = Plan(models_dir=Path('.'), assistant_id='x', replicas=1, threads=1, host='127.0.0.1', port=1)\n"
        "try:\n    deployed(plan).__enter__()\nexcept RayMissing as error:\n    print(json.dumps(str(error)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'kefu[ray]'" in json.loads(done.stdout)
