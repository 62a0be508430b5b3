"""A server with OpenAI's chat API that writes what it is told, each sentence when it is let or after a pause."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 60.0


class SlowWriter:
    """What it writes and has written. `pause_s`: before each sentence; None: each waits for `let`.

    Attributes:
        sentences: of each reply, with what stands between them.
        ends_well: whether the reply has an end; else the connection breaks after the last sentence.
        written: how many sentences were written, of all replies together.
    """

    def __init__(self, sentences: Sequence[str], *, pause_s: float | None = None, ends_well: bool = True) -> None:
        self.sentences, self.ends_well, self._pause_s = list(sentences), ends_well, pause_s
        self.asked: list[Any] = []
        self.written = 0
        self.url = ""
        self._let = threading.Semaphore(0)

    def let(self, count: int = 1) -> None:
        """Write so many sentences more."""
        self._let.release(count)

    def chunks(self) -> Iterator[str]:
        for sentence in self.sentences:
            if self._pause_s is not None:
                time.sleep(self._pause_s)
            elif not self._let.acquire(timeout=PATIENCE_S):
                return
            self.written += 1
            # Word by word, as models write.
            yield from (f"{word} " for word in sentence.split(" ")[:-1])
            yield sentence.split(" ")[-1]


@contextmanager
def writing(writer: SlowWriter) -> Iterator[SlowWriter]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            writer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for text in writer.chunks():
                    self._say(json.dumps({"choices": [{"delta": {"content": text}}]}))
                if writer.ends_well:
                    self._say("[DONE]")
            except OSError:
                return  # nobody listens any more

        def _say(self, data: str) -> None:
            self.wfile.write(f"data: {data}\n\n".encode())
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    writer.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield writer
    finally:
        writer.let(1_000)
        server.shutdown()
        server.server_close()
        thread.join(10)
