"""The process dies at one named point of a message's life: it is answered exactly once all the same, and in order.

Nothing in the product helps: the assistant in gate/ has an action that stops, or kills its own process, where a test
says so.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.faults.checker import Acked, Conversation, check
from tests.faults.log import read_log, rows
from tests.faults.webclient import PROTOCOL, Say, WebClient
from tests.server import Server, kefu

GATE_ASSISTANT = Path(__file__).parent / "gate"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The server with the gate assistant, and the folder through which its action is told what to do.

    One server serves all tests of this file, each in conversations and with words (`prefix`) of its own.
    """

    server: Server
    folder: Path
    prefix: str

    def say(self, name: str) -> Say:
        return Say(payload=f"/pass{json.dumps({'word': self.prefix + name})}")

    def echoes(self, *names: str) -> list[str]:
        return [f"echo {self.prefix}{name}" for name in names]

    def order(self, name: str, what: str) -> Path:
        """`what`: hold, kill, kill-committed."""
        file = self.folder / f"{self.prefix}{name}.{what}"
        file.touch()
        return file

    def ran(self) -> list[str]:
        """The words of this test that the action was run for, in order."""
        file = self.folder / "ran"
        words = file.read_text().split() if file.exists() else []
        return [word.removeprefix(self.prefix) for word in words if word.startswith(self.prefix)]

    def answered(self, name: str) -> bool:
        pattern = f"%{self.echoes(name)[0]}%"
        return bool(rows(self.server.home, "SELECT 1 FROM outbox WHERE body LIKE ?", pattern))

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def died(self) -> None:
        """Wait until the process has killed itself."""
        assert self.server.process is not None
        await asyncio.to_thread(self.server.process.wait, 20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("gate")
    kefu("train", str(GATE_ASSISTANT), home=folder / "home")
    (folder / "orders").mkdir()
    server = Server(home=folder / "home", assistant=GATE_ASSISTANT, env={"KEFU_GATE": str(folder / "orders")})
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


@pytest.fixture
def gate(server: Server, request: pytest.FixtureRequest) -> Gate:
    if server.process is None or server.process.poll() is not None:
        server.start()
    return Gate(server=server, folder=Path(server.env["KEFU_GATE"]), prefix=f"{request.node.name}-")


async def until(is_so: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    """Wait for something in another process, which cannot wake us."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline, f"still not so after {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


async def assert_answered_once(gate: Gate, client: WebClient, *names: str) -> None:
    """In the end the client saw the echo of each word, once, in this order, and the log agrees."""
    assert await client.until(lambda: len(client.bot_texts()) >= len(names)), client.bot_texts()
    # One more exchange: whatever was going to come twice has come before its answer.
    client.say(gate.say("last"))
    assert await client.until(lambda: gate.echoes("last")[0] in client.bot_texts())
    assert client.bot_texts() == gate.echoes(*names, "last")
    log = read_log(gate.server.home)[client.conversation]
    verdict = check(
        [
            Conversation(
                client=client.name,
                events=client.events,
                answers=log.answers,
                turns=log.turns,
                last_seq=log.last_seq,
            )
        ]
    )
    assert (verdict.faults, verdict.resyncs) == ((), 0)


async def test_killed_after_the_ack_and_before_any_worker_claimed(gate: Gate) -> None:
    hold = gate.order("a", "hold")
    async with WebClient(gate.server.url, "shopper") as client:
        client.say(gate.say("a"))
        await until(lambda: gate.ran() == ["a"], "the first turn is inside its action")
        client.say(gate.say("b"))  # waits behind the first: accepted, not claimed
        assert await client.until(lambda: client.acked == 2)
        query = (
            "SELECT attempts FROM inbox JOIN conversations c ON c.id = conversation_id WHERE sender_id = ? ORDER BY seq"
        )
        attempts = [row["attempts"] for row in rows(gate.server.home, query, client.conversation)]
        assert attempts == [1, 0]
        await gate.kill()
        hold.unlink()
        await gate.start()
        await assert_answered_once(gate, client, "a", "b")
    assert gate.ran() == ["a", "a", "b", "last"]


async def test_killed_in_the_middle_of_a_turn(gate: Gate) -> None:
    gate.order("a", "kill")
    async with WebClient(gate.server.url, "shopper") as client:
        client.say(gate.say("a"))
        client.say(gate.say("b"))
        await gate.died()
        assert not gate.answered("a")
        await gate.start()
        await assert_answered_once(gate, client, "a", "b")
    assert gate.ran() == ["a", "a", "b", "last"]


async def test_killed_after_the_commit_and_before_the_customer_got_it(gate: Gate) -> None:
    hold = gate.order("a", "hold")
    client = WebClient(gate.server.url, "shopper")
    async with client:
        client.say(gate.say("a"))
        assert await client.until(lambda: client.acked == 1)
    hold.unlink()  # the customer is offline by now
    await until(lambda: gate.answered("a"), "the turn is committed")
    await gate.kill()
    await gate.start()
    assert client.bot_texts() == []
    async with client:
        await assert_answered_once(gate, client, "a")
    assert gate.ran() == ["a", "last"]


async def test_killed_at_the_very_commit_with_the_customer_online(gate: Gate) -> None:
    gate.order("a", "kill-committed")
    async with WebClient(gate.server.url, "shopper") as client:
        client.say(gate.say("a"))
        await gate.died()
        await gate.start()
        await assert_answered_once(gate, client, "a")
    assert gate.ran() == ["a", "last"]


async def test_killed_after_storing_and_before_the_ack_arrived(gate: Gate) -> None:
    """The ack is lost on the wire: the client sends the same message again and gets the same place."""
    message_id = "shopper-0000000000000001"
    async with connect(gate.server.url.replace("http", "ws") + "/webchat/ws", proxy=None) as socket:
        await socket.send(json.dumps({"type": "hello", "protocol": PROTOCOL}))
        token = json.loads(await socket.recv())["visitor"]
        payload = gate.say("a").payload
        await socket.send(json.dumps({"type": "send", "client_msg_id": message_id, "payload": payload}))
        await until(lambda: gate.answered("a"), "the message is stored and answered")
        socket.transport.abort()  # whatever the server said, nobody read it
    await gate.kill()
    await gate.start()
    client = WebClient(gate.server.url, "shopper", token=token)
    client.say(gate.say("a"), message_id)
    async with client:
        await assert_answered_once(gate, client, "a")
    assert Acked(message_id=message_id, seq=1) in client.events
    assert gate.ran() == ["a", "last"]


async def test_rest_client_that_asks_again_after_a_kill_gets_the_one_answer(gate: Gate) -> None:
    gate.order("a", "kill-committed")
    url = f"{gate.server.url}/webhooks/rest/webhook"
    body = {"sender": "tester", "message": gate.say("a").payload}
    answers = []
    async with httpx.AsyncClient(timeout=20, headers={"Idempotency-Key": gate.prefix}) as http:
        with suppress(httpx.HTTPError):  # killed before the response was out, or just after: both happen
            answers.append((await http.post(url, json=body)).json())
        await gate.died()
        await gate.start()
        answers += [(await http.post(url, json=body)).json() for _ in range(2)]
    assert all(answer == [{"recipient_id": "tester", "text": gate.echoes("a")[0]}] for answer in answers)
    assert gate.ran() == ["a"]


async def test_deploy_lets_the_turn_in_flight_finish(gate: Gate) -> None:
    hold = gate.order("a", "hold")
    async with WebClient(gate.server.url, "shopper") as client:
        client.say(gate.say("a"))
        await until(lambda: gate.ran() == ["a"], "the turn is inside its action")
        stopping = asyncio.create_task(asyncio.to_thread(gate.server.stop))
        assert await client.until(lambda: not client.is_connected)
        hold.unlink()
        assert await stopping in {
            0,
            -signal.SIGTERM,
        }  # uvicorn ends by the signal it was stopped with, after tidying up
        await gate.start()
        await assert_answered_once(gate, client, "a")
    assert gate.ran() == ["a", "last"]  # not run a second time


async def test_stuck_conversation_stalls_no_other(gate: Gate) -> None:
    hold = gate.order("a", "hold")
    stuck, other = WebClient(gate.server.url, "stuck"), WebClient(gate.server.url, "other")
    async with stuck, other:
        stuck.say(gate.say("a"))
        await until(lambda: gate.ran() == ["a"], "the turn is inside its action")
        other.say(gate.say("b"))
        await assert_answered_once(gate, other, "b")
        assert stuck.bot_texts() == []
        hold.unlink()
        assert await stuck.until(lambda: stuck.bot_texts() == gate.echoes("a"))
