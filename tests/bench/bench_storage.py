"""Turns a second of storage alone: accept → claim → finish for 32 concurrent customers, on SQLite and PostgreSQL.

python -m tests.bench.bench_storage  →  results/storage.json

One process, no model, no dialogue, no HTTP: each customer sends the next message as soon as the last is answered, and a
worker writes turns of the size the starter's are. SQLite is synchronous=FULL, PostgreSQL has its defaults (fsync on).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.storage import inbox
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.inbox import Claim, TurnRecord
from bot.storage.ports import SqlPorts
from bot.storage.predictions import PredictionRecord
from connectors.base import InboundMessage
from tests.bench.report import latency, write
from tests.postgres import PostgresServer, find_binaries

CUSTOMERS = 32
TURNS = 4_800
WARM_UP = 480
MIN_TURNS_PER_S = 700
SHOP = "shop"
INTENTS = 15


def record(held: Claim) -> TurnRecord:
    """As large as an ordinary turn of the starter: five events, a snapshot, the whole ranking, one answer."""
    now, text = time.time(), held.message.text
    ranking = [{"name": f"intent_{n}", "confidence": 0.9 / 2**n} for n in range(INTENTS)]
    heard = {"text": text, "intent": ranking[0], "intent_ranking": ranking, "entities": [], "language": "en"}
    slots = {f"slot_{n}": None for n in range(8)}
    said = {"text": f"You said: {text}. We deliver in two to four working days.", "buttons": []}
    return TurnRecord(
        events=[
            {"event": "user", "timestamp": now, "text": text, "parse_data": heard, "metadata": {}},
            {"event": "slot", "timestamp": now, "name": "language", "value": "en"},
            {"event": "action", "timestamp": now, "name": "utter_shipping", "policy": "RulePolicy", "confidence": 1.0},
            {"event": "bot", "timestamp": now, "text": said["text"], "metadata": {"utter_action": "utter_shipping"}},
            {"event": "action", "timestamp": now, "name": "action_listen", "policy": "RulePolicy", "confidence": 1.0},
        ],
        expected_event_seq=held.event_seq,
        snapshot={"fold_version": 1, "domain_hash": "0" * 64, "slots": slots, "latest_message": heard},
        bodies=[said],
        prediction=PredictionRecord(
            text=text,
            ranking=ranking,
            confidence=0.9,
            out_of_scope_score=0.1,
            is_out_of_scope=False,
            fallback=False,
            model_version="bench",
            latency_ms=3.0,
            sentiment="neutral",
            language="en",
        ),
    )


async def work(database: Database, hub: Hub) -> None:
    """Claim what waits, answer all of it at once; until cancelled."""

    async def answer(held: Claim) -> None:
        turn = record(held)
        said = await database.write(lambda conn: inbox.finish(conn, held, turn, datetime.now(UTC)))
        hub.turn_finished(held.inbound_id, held.sender_id, said)

    while True:
        ticket = hub.ticket()
        now = datetime.now(UTC)
        claims = await database.write(lambda conn, now=now: inbox.claim(conn, SHOP, "bench", now, 30, CUSTOMERS))
        if claims:
            await asyncio.gather(*(answer(held) for held in claims))
        else:
            await hub.wait_inbound(ticket, 1)


async def talk(ports: SqlPorts, name: str, turns: int, acks: list[float], answers: list[float]) -> None:
    for number in range(turns):
        message = InboundMessage(
            channel="rest",
            account="",
            external_id=f"{name}-{number}",
            customer=name,
            sender_id=name,
            text=f"How long does delivery take, {number}?",
            received_at=datetime.now(UTC),
            input_channel="rest",
        )
        started = time.perf_counter()
        (receipt,) = await ports.receive([message])
        acks.append(time.perf_counter() - started)
        if await ports.wait_for_reply(receipt.inbound_id, 60) is None:
            raise RuntimeError(f"message {message.external_id} was not answered in 60 s")
        answers.append(time.perf_counter() - started)


async def measure(url: str) -> dict[str, Any]:
    database = Database.open(url)
    await asyncio.to_thread(database.upgrade)
    hub = Hub()
    ports = SqlPorts(database, hub, SHOP)
    worker = asyncio.create_task(work(database, hub))

    async def everybody(prefix: str, turns: int) -> tuple[list[float], list[float], float]:
        acks: list[float] = []
        answers: list[float] = []
        started, cpu = time.perf_counter(), time.process_time()
        share = turns // CUSTOMERS
        await asyncio.gather(*(talk(ports, f"{prefix}{n}", share, acks, answers) for n in range(CUSTOMERS)))
        measure_cpu.append(time.process_time() - cpu)
        return acks, answers, time.perf_counter() - started

    measure_cpu: list[float] = []
    await everybody("warm", WARM_UP)
    acks, answers, wall_s = await everybody("customer", TURNS)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await database.close()
    return {
        "turns_per_s": round(len(answers) / wall_s, 1),
        "turns": len(answers),
        "wall_s": round(wall_s, 2),
        "cpu_ms_per_turn": round(1000 * measure_cpu[-1] / len(answers), 3),
        "acknowledged": latency(acks),
        "answered": latency(answers),
    }


def main() -> None:
    figures: dict[str, Any] = {"customers": CUSTOMERS}
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as folder:
        figures["sqlite_full"] = asyncio.run(measure(f"sqlite:///{Path(folder) / 'kefu.db'}"))
    binaries = find_binaries()
    if binaries is not None:
        server = PostgresServer(binaries)
        server.start()
        try:
            figures["postgresql"] = asyncio.run(measure(server.url()))
        finally:
            server.stop()
    reached = figures["sqlite_full"]["turns_per_s"] >= MIN_TURNS_PER_S
    write("storage", figures, targets={f"SQLite ≥ {MIN_TURNS_PER_S} turns/s": reached})


if __name__ == "__main__":
    main()
