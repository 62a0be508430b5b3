"""Text generators behind one Protocol: servers that speak OpenAI's chat API, and a local one in a process of its own.

The local process (llama.cpp, or transformers) speaks the same API on this machine's loopback, so that there is one
client. What is said is not judged here. Invariant: a caller gets its text, or GenerationFailed, within its deadline;
whatever the generator does, this process lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import subprocess
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from models.base import ModelError
from models.client import Circuit

log = logging.getLogger(__name__)

START_WITHIN_S = 30.0
START_AGAIN_AFTER_S = 5.0
ENDS_WITHIN_S = 0.2
CONNECT_WITHIN_S = 2.0
MOST_CHARS = 8_000
"""Of one reply: a server that does not stop by itself is cut off."""

Message = Mapping[str, str]
"""{"role": "system" | "user" | "assistant", "content": …}"""


Pieces = AsyncGenerator[str, None]


class GenerationFailed(ModelError):
    """The generator gave no text in time; something else must be said."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was asked of a generator since the start; `cost` in the currency of its prices."""

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Of a million tokens, in and out."""

    prompt: float = 0.0
    completion: float = 0.0


class Generator(Protocol):
    """Anything that continues a chat."""

    @property
    def name(self) -> str:
        """Model and version, as the log of an answer names it."""
        ...

    @property
    def usage(self) -> Usage: ...

    def stream(self, messages: Sequence[Message], *, max_tokens: int, deadline_s: float) -> Pieces:
        """The reply's pieces as they come, greedily decoded. Whoever stops listening stops the generation.

        Raises:
            GenerationFailed: no answer, a broken one, or not all of it within `deadline_s`.
        """
        ...

    async def close(self) -> None: ...


class ServedGenerator:
    """A server with OpenAI's chat API: vLLM, llama.cpp, Ollama or any other.

    Args:
        url: up to `/v1`.
        model: as the server calls it.
        is_here: on this machine; what the environment says of proxies is not for it.
    """

    def __init__(
        self, url: str, model: str, *, api_key: str | None = None, prices: Prices | None = None, is_here: bool = False
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(60, connect=CONNECT_WITHIN_S)
        # A connection that was kept may be closed by the other side just as it is used again; a new one costs nothing
        # here, and elsewhere little beside a reply.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits, trust_env=not is_here)
        self._url, self._name = f"{url.rstrip('/')}/chat/completions", model
        self._prices, self._circuit, self._usage = prices or Prices(), Circuit(), Usage()

    @property
    def name(self) -> str:
        """See `Generator`, as for the others below."""
        return self._name

    @property
    def usage(self) -> Usage:
        return self._usage

    async def stream(self, messages: Sequence[Message], *, max_tokens: int, deadline_s: float) -> Pieces:
        if not self._circuit.admits(time.monotonic(), deadline_s):
            raise GenerationFailed(f"{self._name} failed several times in a row and is left alone for a while")
        body = {
            "model": self._name,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self._count(requests=1)
        ends_at = asyncio.get_running_loop().time() + deadline_s
        try:
            async with contextlib.aclosing(self._pieces(body)) as pieces:
                while True:
                    # Around each wait, never around the yield: what the caller does meanwhile is not ours to cancel.
                    async with asyncio.timeout_at(ends_at):
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    yield piece
        except TimeoutError as error:
            raise self._failed(f"no whole reply within {deadline_s:g} s") from error
        # RuntimeError: the client was closed, for another generator took over amid this reply.
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RuntimeError) as error:
            raise self._failed(f"{type(error).__name__}: {error}") from error
        self._circuit.succeeded()

    async def close(self) -> None:
        await self._client.aclose()

    async def _pieces(self, body: Mapping[str, Any]) -> Pieces:
        said, is_whole = 0, False
        async with self._client.stream("POST", self._url, json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"it answered {response.status_code}")
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                if (data := line.removeprefix("data:").strip()) == "[DONE]":
                    is_whole = True
                    continue
                piece = self._read(json.loads(data))
                said += len(piece)
                if said > MOST_CHARS:
                    raise ValueError(f"its reply is longer than {MOST_CHARS} characters")
                if piece:
                    yield piece
        if not is_whole:
            raise ValueError("its reply ended in the middle")

    def _read(self, event: object) -> str:
        if not isinstance(event, dict) or "error" in event:
            raise ValueError("its answer is not a chat completion")
        try:
            if usage := event.get("usage"):
                prompt, completion = (int(usage.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion"))
                self._count(prompt_tokens=prompt, completion_tokens=completion)
            choice = (event.get("choices") or [{}])[0]
            piece, is_cut = (choice.get("delta") or {}).get("content") or "", choice.get("finish_reason") == "length"
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise ValueError("its answer is not a chat completion") from error
        if not isinstance(piece, str):
            raise ValueError("its answer is not text")
        if is_cut:
            raise ValueError("its reply was cut off")
        return piece

    def _failed(self, why: str) -> GenerationFailed:
        self._circuit.failed(time.monotonic())
        self._count(failures=1)
        return GenerationFailed(f"{self._name}: {why}")

    def _count(
        self, *, requests: int = 0, failures: int = 0, prompt_tokens: int = 0, completion_tokens: int = 0
    ) -> None:
        known, prices = self._usage, self._prices
        cost = (prompt_tokens * prices.prompt + completion_tokens * prices.completion) / 1_000_000
        self._usage = Usage(
            requests=known.requests + requests,
            failures=known.failures + failures,
            prompt_tokens=known.prompt_tokens + prompt_tokens,
            completion_tokens=known.completion_tokens + completion_tokens,
            cost=known.cost + cost,
        )


class LocalGenerator:
    """A generator in a process of its own, started when it is first asked, and again after it died.

    One generation at a time: who comes meanwhile waits, and gives up at its deadline.

    Args:
        command: starts the process. It is given a key as the first line of its standard input, prints
            {"url": …} once it listens, and ends when its standard input closes.
        name: model and version.
        start_within_s: until it listens; then it is killed.
    """

    def __init__(self, command: Sequence[str], name: str, *, start_within_s: float = START_WITHIN_S) -> None:
        self._command, self._name, self._start_within_s = list(command), name, start_within_s
        self._process: subprocess.Popen[bytes] | None = None
        self._client: ServedGenerator | None = None
        self._past = Usage()
        self._one_at_a_time = asyncio.Lock()
        self._starting: asyncio.Task[ServedGenerator] | None = None
        self._again_at = 0.0
        self._has_failed = self._is_closed = False

    @property
    def name(self) -> str:
        """See `Generator`, as for the others below."""
        return self._name

    @property
    def usage(self) -> Usage:
        if self._client is None:
            return self._past
        now, past = self._client.usage, self._past
        return Usage(**{field: getattr(now, field) + getattr(past, field) for field in vars(past)})

    async def stream(self, messages: Sequence[Message], *, max_tokens: int, deadline_s: float) -> Pieces:
        ends_at = time.monotonic() + deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                await self._one_at_a_time.acquire()
        except TimeoutError as error:
            raise GenerationFailed(f"{self._name}: others were served for {deadline_s:g} s") from error
        try:
            client = await self._started(ends_at - time.monotonic())
            left = max(0.05, ends_at - time.monotonic())
            async with contextlib.aclosing(client.stream(messages, max_tokens=max_tokens, deadline_s=left)) as pieces:
                async for piece in pieces:
                    yield piece
        except GenerationFailed:
            self._has_failed = True
            raise
        finally:
            self._one_at_a_time.release()

    async def close(self) -> None:
        self._is_closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            self._starting = None
        process, self._process = self._process, None
        await self._forget()
        if process is not None:
            await asyncio.to_thread(_ended, process)

    async def _started(self, within_s: float) -> ServedGenerator:
        """The client of the process that runs. One that starts for longer than a caller waits goes on starting."""
        if self._is_closed:
            raise GenerationFailed(f"{self._name} was closed")
        if self._starting is not None and self._starting.done():
            self._starting.exception()  # nobody may have waited for it to the end
            self._starting = None
        if self._has_failed and self._process is not None and self._starting is None:
            # A process that was just killed may not have ended yet, and its port would be asked once more.
            await asyncio.to_thread(_waited, self._process, ENDS_WITHIN_S)
            self._has_failed = False
        if self._process is not None and self._process.poll() is not None and self._starting is None:
            log.warning("generator.ended", extra={"model": self._name, "status": self._process.returncode})
            await self._forget()
            self._process, self._again_at = None, time.monotonic() + START_AGAIN_AFTER_S
        if self._client is not None:
            return self._client
        if self._starting is None:
            if time.monotonic() < self._again_at:
                raise GenerationFailed(f"{self._name} ended and is not started again at once")
            self._again_at = time.monotonic() + START_AGAIN_AFTER_S
            self._starting = asyncio.create_task(self._start())
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                return await asyncio.shield(self._starting)
        except TimeoutError as error:
            raise GenerationFailed(f"{self._name} is still starting") from error

    async def _start(self) -> ServedGenerator:
        key = secrets.token_urlsafe(24)
        try:
            process = self._process = _opened(self._command)
        except OSError as error:
            raise GenerationFailed(f"{self._name} did not start: {error}") from error
        try:
            url = await asyncio.wait_for(asyncio.to_thread(_address, process, key), self._start_within_s)
        except (TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
            process.kill()
            raise GenerationFailed(f"{self._name} did not start: {error}") from error
        self._client = ServedGenerator(url, self._name, api_key=key, is_here=True)
        log.info("generator.started", extra={"model": self._name, "pid": process.pid})
        return self._client

    async def _forget(self) -> None:
        if self._client is not None:
            self._past, client, self._client = self.usage, self._client, None
            await client.close()


def _opened(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # Its own session: Ctrl-C in a terminal is for the server, which then closes it.
    return subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _address(process: subprocess.Popen[bytes], key: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{key}\n".encode())
    process.stdin.flush()
    return str(json.loads(process.stdout.readline())["url"])


def _waited(process: subprocess.Popen[bytes], within_s: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within_s)


def _ended(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
