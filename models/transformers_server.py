"""`python -m models.transformers_server FOLDER [ADAPTER]`: a base that is no GGUF file, causal or seq2seq, on the
loopback, for `LocalGenerator`; what peft trained on it is merged at the start.

As `models.llama_server`: reads a key from its first line of standard input, prints {"url": …}, and serves until its
standard input closes. Memory is bounded: by one reply at a time of CONTEXT tokens, and by a limit of the system's.
On the processor alone: with a GPU, serve the model elsewhere and name the server.

`transformers serve` is not it (5.23): it asks for no key, loads whatever model a request names, knows no seq2seq, no
adapter and no base without a chat template, bounds nothing, and outlives who started it.
The prompt's constant beginning is one sentence, and is read anew each time.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import socket
import sys
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from models.pretrained import Continued, continue_greedily, load_tuned_generator, tokens_at_most
from models.prompting import prompt_ids

CONTEXT = 2048
"""Tokens of a prompt with its reply; fewer where the model was made for fewer."""
MOST_BYTES = 3 * 1024**3
"""Of memory of its own, beyond three times the model's files (they may be of half the precision that it is served in):
what runs away ends this process, not the machine."""


class Said(BaseModel):
    """A message of the chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Asked(BaseModel):
    """What `LocalGenerator` asks for; whatever else a request says, a reply is greedy."""

    messages: list[Said] = Field(min_length=1)
    max_tokens: int = Field(gt=0)
    stream: Literal[True]


class Served:
    """The model, and the one thread that asks it."""

    def __init__(self, folder: Path, adapter: Path | None, threads: int) -> None:
        self._model, self._tokenizer = load_tuned_generator(folder, adapter, threads)
        self._is_seq2seq = bool(self._model.config.is_encoder_decoder)
        self._most = tokens_at_most(self._model, CONTEXT)
        self._one_at_a_time = ThreadPoolExecutor(max_workers=1)

    def prompt(self, messages: list[Said]) -> list[int]:
        """Raises ValueError where no reply would fit behind it."""
        ids = prompt_ids(self._tokenizer, [each.model_dump() for each in messages], is_seq2seq=self._is_seq2seq)
        if len(ids) >= self._most:
            raise ValueError(f"{len(ids)} tokens and a reply are more than {self._most}")
        return ids

    async def events(self, prompt: list[int], max_tokens: int) -> AsyncGenerator[str, None]:
        """Server-sent events of OpenAI's chat API. Closed early, it ends the writing with the next token."""
        loop, is_gone = asyncio.get_running_loop(), threading.Event()
        heard: asyncio.Queue[str | None] = asyncio.Queue()

        def say(piece: str | None) -> None:
            loop.call_soon_threadsafe(heard.put_nowait, piece)

        most = min(max_tokens, self._most - len(prompt))
        writing = self._one_at_a_time.submit(
            continue_greedily, self._model, self._tokenizer, prompt, most, say, is_gone.is_set
        )
        writing.add_done_callback(lambda _: say(None))
        try:
            while (piece := await heard.get()) is not None:
                yield _event(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
            for event in _last_events(len(prompt), writing.result()):
                yield event
        finally:
            is_gone.set()
            writing.cancel()


def _last_events(prompt_tokens: int, continued: Continued) -> list[str]:
    reason, written = "length" if continued.is_cut else "stop", continued.tokens
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
    }
    last = _event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])
    return [last, _event(choices=[], usage=usage), "data: [DONE]\n\n"]


def _event(**parts: Any) -> str:
    return f"data: {json.dumps({'object': 'chat.completion.chunk', **parts}, ensure_ascii=False)}\n\n"


def app_of(served: Served, key: str) -> FastAPI:
    """One route, for who knows the key."""

    def known(request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            raise HTTPException(401)

    app = FastAPI(openapi_url=None)

    @app.post("/v1/chat/completions", dependencies=[Depends(known)])
    async def complete(asked: Annotated[Asked, Body()]) -> StreamingResponse:
        try:
            prompt = served.prompt(asked.messages)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        return StreamingResponse(served.events(prompt, asked.max_tokens), media_type="text/event-stream")

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("adapter", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    key = sys.stdin.readline().strip()
    threading.Thread(target=_end_with_input, daemon=True).start()
    # Libraries may write to where the address goes.
    address = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _bound_memory(arguments.folder)
    served = Served(arguments.folder, arguments.adapter, arguments.threads)
    listening = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}/v1"}), file=address, flush=True)
    uvicorn.Server(uvicorn.Config(app_of(served, key), log_level="warning")).run(sockets=[listening])


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)  # amid a reply, or while it still loads: there is nothing to put away


def _bound_memory(folder: Path) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    most = MOST_BYTES + 3 * sum(path.stat().st_size for path in folder.iterdir())
    # Not of address space: PyTorch made for GPUs maps far more of it than it uses.
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
