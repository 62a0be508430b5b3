"""The client of models that serve elsewhere (`serving.py`): `models.base.Understander` over HTTP.

`ray://host:port` names a proxy of Ray Serve, and the client speaks plain HTTP to it. A handle through
`ray.init(address=…)` was rejected: it needs Ray in every worker process and a node of the cluster on every machine,
and a lost cluster ends the process that holds the handle. Ray Client needs the same release of Ray and Python on both
sides, and keeps one connection whose loss is the session's. A proxy costs one hop more, which sharing makes cheap:
texts that come together travel in one request, by the same micro-batcher that forms the passes.
Reading a text has no effect, so that asking twice is safe.
Invariant: whatever happens there, a caller gets its reading, ReadingFailed or ModelUnavailable, in bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from models.base import ModelUnavailable, ReadingFailed, Understanding
from models.runtime import MicroBatcher, ServingStatus
from models.wire import (
    BROKE,
    OK,
    UNAVAILABLE,
    Report,
    Unreadable,
    read_problem,
    read_readings,
    read_report,
    write_texts,
)

log = logging.getLogger(__name__)

SCHEME = "ray://"
# Requests on their way at once: what comes meanwhile fills the next one.
REQUESTS = 8
CONNECT_WITHIN_S = 1.0
LOOK_EVERY_S = 1.0
# A replica that was not heard of for so long is gone; of two, ten looks miss one once in a thousand times.
FORGET_AFTER_S = 10.0
# Readings that failed, both tries of each, before the next ones are refused at once.
OPENS_AFTER = 3
OPEN_S, OPEN_AT_MOST_S = 0.5, 8.0
# An address that did not take a connection: others are asked first for so long.
AWAY_S = 5.0


class _Failed(Exception):
    """A try without an answer; another replica may give one."""


class _BrokeAmongOthers(Exception):
    """A text of several broke the model: the micro-batcher then sends each alone."""


@dataclass(frozen=True, kw_only=True)
class RemoteStatus(ServingStatus):
    """What health pages show of models that serve elsewhere.

    Attributes:
        replicas: answered lately; `wanted_replicas`: as many as the deployment has when all live.
        versions: what they serve, more than one only while they follow a promotion.
        is_refusing: the circuit is open: readings are refused at once, and their messages wait.
    """

    urls: tuple[str, ...]
    replicas: int
    wanted_replicas: int
    versions: tuple[str, ...]
    is_refusing: bool


class Circuit:
    """Refuses at once what would only time out: closed, open after failures in a row, then one trial at a time.

    Safe between threads. Each failed trial doubles the pause; a success closes the circuit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_from = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= OPENS_AFTER

    def admits(self, now: float, trial_s: float) -> bool:
        """Whether to ask; while open only one caller after each pause, who has `trial_s` to find out."""
        with self._lock:
            if not self.is_open:
                return True
            if now < self._closed_from:
                return False
            self._closed_from = now + trial_s
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self, now: float) -> None:
        with self._lock:
            self._failures += 1
            if self.is_open:
                pause_s = min(OPEN_AT_MOST_S, OPEN_S * 2 ** min(self._failures - OPENS_AFTER, 10))
                self._closed_from = now + pause_s


class RemoteUnderstander:
    """Reads through replicas elsewhere. Implements `models.base.Understander`.

    Args:
        urls: where replicas are reached, best one a node; they are asked in turn.
        timeout_s: of a reading, both tries together.
    """

    def __init__(self, urls: Sequence[str], *, timeout_s: float = 10.0) -> None:
        self._urls = tuple(urls)
        self._timeout_s = timeout_s
        self._turn = itertools.count()
        self._away_until = dict.fromkeys(self._urls, 0.0)
        self._circuit = Circuit()
        # Half the time each, so that the second try has some where the first hangs. An inner address is asked directly,
        # whatever proxy the environment names for the world outside.
        timeout = httpx.Timeout(timeout_s / 2, connect=min(CONNECT_WITHIN_S, timeout_s / 2))
        self._http = httpx.Client(timeout=timeout, trust_env=False)
        self._batcher = MicroBatcher(self._read, workers=REQUESTS)
        self._reports: dict[str, tuple[float, Report]] = {}
        self._problem: str | None = "not asked yet"
        self._watching: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        """The version that served at the last look; "" while none does."""
        return self.status().version or ""

    async def start(self) -> None:
        """Look once, then every second. Models that are away let this process start all the same: messages wait."""
        await self._look()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._batcher.close()
        self._http.close()

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Read B texts, in input order.

        Raises:
            ModelUnavailable: no replica answers, none serves a version, or their queues are full; safe to retry.
            ReadingFailed: the model broke on one of the texts.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._batcher.understand(texts)
        except TimeoutError as error:
            raise ModelUnavailable(f"the model gave no answer in {self._timeout_s:g} s") from error

    def status(self) -> RemoteStatus:
        reports = self._fresh()
        versions = sorted({report.status.version for report in reports if report.status.version})
        problems = [report.status.problem for report in reports if report.status.problem]
        last = reports[-1].status if reports else None
        return RemoteStatus(
            version=versions[-1] if versions and self._problem is None else None,
            wanted=last.wanted if last else None,
            is_loading=any(report.status.is_loading for report in reports),
            problem=self._problem or next(iter(problems), None),
            waiting=self._batcher.waiting,
            urls=self._urls,
            replicas=len(reports),
            wanted_replicas=reports[-1].replicas if reports else 0,
            versions=tuple(versions),
            is_refusing=self._circuit.is_open,
        )

    async def settled(self, version: str) -> RemoteStatus:
        """Wait until every replica took `version` over or refused it; the status then says which."""
        while True:
            await self._look()
            reports = self._fresh()
            done = [r for r in reports if r.status.wanted == version and not r.status.is_loading]
            if reports and len(done) >= reports[-1].replicas and len(done) == len(reports):
                return self.status()
            await asyncio.sleep(LOOK_EVERY_S / 10)

    # ---- readings: in the micro-batcher's threads ----

    def _read(self, texts: Sequence[str]) -> list[Understanding]:
        if not self._circuit.admits(time.monotonic(), self._timeout_s):
            raise ModelUnavailable(f"the models at {', '.join(self._urls)} do not answer; try again later")
        first, second = self._two()
        try:
            try:
                readings = self._ask(first, texts)
            except _Failed as error:
                log.warning("models.asked_again", extra={"url": second, "problem": str(error)})
                readings = self._ask(second, texts)
        except _Failed as error:
            self._circuit.failed(time.monotonic())
            raise ModelUnavailable(f"{error}; try again later") from error
        except (ModelUnavailable, ReadingFailed, _BrokeAmongOthers):
            self._circuit.succeeded()  # an answer, if not the one hoped for
            raise
        self._circuit.succeeded()
        return readings

    def _two(self) -> tuple[str, str]:
        """Whom to ask, and whom to ask then: with one address Serve gives the second try to another replica."""
        turn, now = next(self._turn) % len(self._urls), time.monotonic()
        in_turn = self._urls[turn:] + self._urls[:turn]
        best = sorted(in_turn, key=lambda url: self._away_until[url] > now)  # stable: those present stay in turn
        return best[0], best[1 % len(best)]

    def _ask(self, url: str, texts: Sequence[str]) -> list[Understanding]:
        answer = self._request("POST", url, write_texts(texts))
        if answer.status_code == OK:
            try:
                return read_readings(answer.content, texts)
            except Unreadable as error:
                raise _Failed(f"{url}: {error}") from error
        reason = read_problem(answer.content)
        if answer.status_code == UNAVAILABLE:
            raise ModelUnavailable(reason or f"{url} takes no readings now: too many wait, or no replica is up")
        if answer.status_code == BROKE and reason:
            if len(texts) > 1:
                raise _BrokeAmongOthers(reason)
            raise ReadingFailed(reason)
        raise _Failed(f"{url} answered {answer.status_code}{f' ({reason})' if reason else ''}")

    def _request(self, method: str, url: str, body: bytes | None = None) -> httpx.Response:
        try:
            return self._http.request(method, url, content=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._away_until[url] = time.monotonic() + AWAY_S
            raise _Failed(f"nobody answers at {url} ({error or type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise _Failed(f"{url} gave no answer ({error or type(error).__name__})") from error

    # ---- looking: what the health page shows ----

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except Exception:  # the watcher outlives whatever one answer brings
                log.exception("models.look_failed")

    async def _look(self) -> None:
        try:
            report = await asyncio.to_thread(self._report)
        except _Failed as error:
            self._problem = str(error)
        else:
            self._problem = None
            # Last in the order too, so that the end of it is the newest.
            self._reports.pop(report.replica, None)
            self._reports[report.replica] = (time.monotonic(), report)

    def _report(self) -> Report:
        url, _ = self._two()
        answer = self._request("GET", url)
        if answer.status_code != OK:
            raise _Failed(f"{url} answered {answer.status_code}; does `kefu models serve` run for this assistant?")
        try:
            return read_report(answer.content)
        except Unreadable as error:
            raise _Failed(f"{url}: {error}") from error

    def _fresh(self) -> list[Report]:
        since = time.monotonic() - FORGET_AFTER_S
        return [report for seen_at, report in self._reports.values() if seen_at >= since]


def urls_of(models: str, assistant_id: str) -> tuple[str, ...]:
    """`ray://a:8800,b:8800` → where the assistant's replicas are asked. Raises ValueError that says what is wrong."""
    if not models.startswith(SCHEME):
        raise ValueError(f"{models!r} does not begin with {SCHEME}; write ray://host:port")
    hosts = [host.strip() for host in models.removeprefix(SCHEME).rstrip("/").split(",")]
    wrong = [host for host in hosts if not _is_host_and_port(host)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no host:port; write ray://host:port, or ray://a:port,b:port")
    return tuple(f"http://{host}/{assistant_id}" for host in hosts)


def _is_host_and_port(text: str) -> bool:
    found = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", text)
    return found is not None and 0 < int(found[1]) < 2**16
