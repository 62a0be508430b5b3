"""A real `kefu serve` from outside: ready, light, quiet about its insides, following files, ending in order."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from bot.storage.tables import inbox
from tests.learning import SMALL_SHOP, write_assistant
from tests.server import STARTER, Server, private_home, stored


def wait_until(is_so: Callable[[], bool], timeout_s: float = 30) -> bool:
    """Look again and again at another process, for a bounded time."""
    deadline = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_so()


def test_no_pytorch_is_mapped_after_messages_in_both_languages(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.say("where is my order?")
    assert server.say("我想退货", sender="z")
    assert server.process is not None
    maps = Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")
    assert "onnxruntime" in maps
    assert not [name for name in ("torch", "sklearn", "scipy") if f"/{name}/" in maps]


def test_metrics_ask_for_the_token_once_set(serve: Callable[..., Server]) -> None:
    server = serve(KEFU_API_TOKEN="opensesame")
    url = f"{server.url}/metrics"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer öpensesame".encode()}).status_code == 401
    server.say("hello")
    page = httpx.get(url, headers={"Authorization": "Bearer opensesame"}).text
    assert 'kefu_turns_total{outcome="answered"} 1.0' in page


@pytest.mark.parametrize("path", ["/nothing", "/demo/debug"])
def test_errors_have_rasa_s_shape_and_no_trace(serve: Callable[..., Server], path: str) -> None:
    server = serve()
    answer = httpx.get(f"{server.url}{path}")
    assert answer.status_code == 404
    assert {"status", "message", "reason", "code"} <= answer.json().keys()
    assert "Traceback" not in answer.text


@pytest.mark.sqlite("one process owns its file")
def test_a_second_server_on_the_same_database_is_refused_in_one_sentence(serve: Callable[..., Server]) -> None:
    first = serve()
    second = Server(home=first.home)
    with pytest.raises(AssertionError) as refused:
        second.start(timeout_s=30)
    assert "another `kefu serve`" in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert first.say("hello")


def test_a_stop_lets_the_turns_in_flight_finish(serve: Callable[..., Server]) -> None:
    server = serve()
    outcomes: list[str] = []

    def talk(number: int) -> None:
        try:
            outcomes.append("answered" if server.say("where is my order?", sender=f"s{number}") else "silence")
        except (httpx.ConnectError, httpx.RemoteProtocolError):
            outcomes.append("refused")  # it came after the stop: nothing of it may be in the inbox

    talking = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for one in talking:
        one.start()
    assert wait_until(lambda: "answered" in outcomes)
    assert server.stop() in {0, -signal.SIGTERM}  # uvicorn ends by the signal it was told to end by
    for one in talking:
        one.join(20)
    assert set(outcomes) <= {"answered", "refused"}
    assert stored(server.home, select(inbox.c.state)) == ["done"] * outcomes.count("answered")
    assert server.start().say("hello", sender="after")


def test_a_changed_greeting_is_shown_without_a_restart(tmp_path: Path) -> None:
    write_assistant(tmp_path / "shop", SMALL_SHOP)
    server = Server(home=tmp_path / "home", assistant=tmp_path / "shop", args=("--reload",))

    def greeting() -> str:
        return str(httpx.get(f"{server.url}/webchat/brand").json()["brand"]["greeting"]["en"])

    server.start()
    try:
        assert greeting() == "Hello! How can I help you?"
        brand = 'greetings:\n- {from: "00:00", until: "24:00", text: "What a day!"}\n'
        (tmp_path / "shop" / "brand.yml").write_text(brand, encoding="utf-8")
        assert wait_until(lambda: greeting() == "What a day!")
    finally:
        server.kill()


def test_reload_follows_the_files_and_nothing_else(starter_home: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(STARTER, shop)
    server = Server(home=private_home(starter_home, shop), assistant=shop, args=("--reload",))
    server.start()
    try:
        for number in range(3):
            assert server.say("/thank", sender=f"before{number}")
        assert "assistant reloaded" not in server.log.read_text(encoding="utf-8")

        responses = shop / "domain" / "responses.yml"
        text = responses.read_text(encoding="utf-8")
        responses.write_text("responses: [broken", encoding="utf-8")
        assert wait_until(lambda: "not reloaded" in server.log.read_text(encoding="utf-8"))
        assert server.say("/thank", sender="meanwhile")

        changed = text.replace("very welcome", "wonderfully welcome")
        assert changed != text
        responses.write_text(changed, encoding="utf-8")
        assert wait_until(
            lambda: any("wonderfully" in str(reply.get("text")) for reply in server.say("/thank", sender="after"))
        )
    finally:
        server.kill()
