"""Serving: conversations share forward passes, and a newly promoted version takes over without a restart.

Reading text is `understanding.py`'s, choosing the version `registry.py`'s. Invariant: each answer comes from exactly
one version;
the event loop never waits for a forward pass; a version that does not answer as it did when trained never takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.base import ArtifactInvalid, ModelError, ModelUnavailable, ReadingFailed, Understanding
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander

log = logging.getLogger(__name__)

# One pass takes at most about this many tokens: a larger one reads no more messages a second, and a message that
# arrives just after a pass has left waits for its end.
BATCH_TOKENS = 256
# About half a minute of work; past that a message is better retried by its sender's queue than kept here.
MAX_WAITING = 4096
POLL_S = 0.25
NO_MODEL = "no model serves yet; run `kefu train`"


Waiting = tuple[str, asyncio.Future[Understanding]]


class MicroBatcher:
    """Turns concurrent calls into few passes of `read`, as many at a time as there are `workers`, each in a thread.

    There is no waiting time to collect a batch: a lone request leaves at once, and what arrives while all workers run
    forms the next pass.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], list[Understanding]],
        *,
        workers: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._read = read
        self._batch_tokens = batch_tokens
        self._max_waiting = max_waiting
        self._waiting: deque[Waiting] = deque()
        self._alone: deque[Waiting] = deque()
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="understand")
        # A task counts as running until it has found nothing more to take; it is done only a moment later, and a text
        # that came in that moment would wait for the next one to come.
        self._running = 0
        self._draining: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Texts that no pass has taken yet."""
        return len(self._waiting)

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Read B texts, in input order; raises ModelUnavailable at once where too many wait already."""
        if len(self._waiting) + len(texts) > self._max_waiting:
            raise ModelUnavailable(f"{len(self._waiting)} messages wait for the model already; try again later")
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in texts]
        self._waiting.extend(zip(texts, futures, strict=True))
        if self._running < min(self._workers, len(self._waiting)):
            self._running += 1
            draining = loop.create_task(self._drain())
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()  # a caller that gave up: the next pass leaves its texts out

    async def close(self) -> None:
        """Let the pass that runs finish; whoever still waits gets ModelUnavailable."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ModelUnavailable("the server is stopping"))
        await asyncio.gather(*self._draining)
        self._threads.shutdown(wait=False)

    async def _drain(self) -> None:
        try:
            await self._drain_all()
        finally:
            self._running -= 1

    async def _drain_all(self) -> None:
        while batch := self._take():
            try:
                answers = await self._pass(batch)
            except ModelError as error:
                _fail(batch, error)
            except Exception as error:  # one text must not take the answers of the others
                log.exception("understanding.pass_failed", extra={"texts": len(batch)})
                if len(batch) == 1:
                    _fail(batch, ReadingFailed(f"the model broke on this text: {type(error).__name__}"))
                else:
                    self._alone.extend(batch)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)

    async def _pass(self, batch: Sequence[Waiting]) -> list[Understanding]:
        texts = [text for text, _ in batch]
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, texts)

    def _take(self) -> list[Waiting]:
        if self._alone:  # of a batch that broke: one by one, to find the text that breaks it
            return [self._alone.popleft()]
        batch: list[Waiting] = []
        tokens = 0
        while self._waiting:
            text, future = self._waiting[0]
            tokens += _estimated_tokens(text)
            if batch and tokens > self._batch_tokens:
                break
            self._waiting.popleft()
            if not future.done():
                batch.append((text, future))
        return batch


@dataclass(frozen=True, kw_only=True)
class ServingStatus:
    """What health pages show.

    Attributes:
        version: serves now; None before the first.
        wanted: what CURRENT names; differs from `version` while loading and after a refusal.
        problem: why `wanted` does not serve, for people; None when it does.
    """

    version: str | None
    wanted: str | None
    is_loading: bool
    problem: str | None
    waiting: int

    @property
    def is_ready(self) -> bool:
        return self.version is not None


class ServedUnderstander:
    """The version that CURRENT names, followed while it changes. Implements `models.base.Understander`."""

    def __init__(self, registry: Registry, kind: str, threads: int = 1, *, timeout_s: float = 10.0) -> None:
        self._registry = registry
        self._kind = kind
        self._timeout_s = timeout_s
        self._serving: TrainedUnderstander | None = None
        self._wanted: str | None = None
        self._problem: str | None = NO_MODEL
        self._is_loading = False
        self._seen: tuple[int, int] | None = None
        self._changed = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        # Passes beside each other read more messages a second than one pass on many threads, and a lone one is quicker:
        # threads that wait for each other at every step of a small pass cost more than they bring.
        self._batcher = MicroBatcher(self._read, workers=threads)

    @property
    def version(self) -> str:
        """The version that serves; "" before the first."""
        return "" if self._serving is None else self._serving.version

    @property
    def is_following(self) -> bool:
        """Whether somebody looks after CURRENT: from `start` until `stop`."""
        return self._watching is not None and not self._watching.done()

    async def start(self) -> None:
        """Load what CURRENT names, then follow it.

        Without a CURRENT, or with a damaged one, the server starts all the same and `status()` says why it is not
        ready:
        `kefu train` or `kefu models promote` in another process then makes it ready. From here on this process computes
        with one BLAS thread.
        """
        # The heads' products are small: a second BLAS thread gains nothing, and waits for the next one on the core that
        # another pass needs. 32 customers on two cores: 290 messages a second with it, 540 without.
        threadpool_limits(1, user_api="blas")
        await self._follow()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._batcher.close()

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Read B utterances, in input order.

        Raises:
            ModelUnavailable: no version serves, the queue is full, or no answer came in `timeout_s`; safe to retry.
        """
        if self._serving is None:
            raise ModelUnavailable(self._problem or NO_MODEL)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._batcher.understand(texts)
        except TimeoutError as error:
            raise ModelUnavailable(f"the model gave no answer in {self._timeout_s:g} s") from error

    def status(self) -> ServingStatus:
        return ServingStatus(
            version=self.version or None,
            wanted=self._wanted,
            is_loading=self._is_loading,
            problem=self._problem,
            waiting=self._batcher.waiting,
        )

    async def settled(self, version: str) -> ServingStatus:
        """Wait until `version` is the one CURRENT names and was taken over or refused; the status then says which."""
        while self._wanted != version or self._is_loading:
            self._changed.clear()
            await self._changed.wait()
        return self.status()

    def _read(self, texts: Sequence[str]) -> list[Understanding]:
        # Read once: this pass answers with this version whatever is promoted meanwhile.
        serving = self._serving
        if serving is None:
            raise ModelUnavailable(NO_MODEL)
        return serving.read(texts)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._follow()
            except Exception:  # the watcher outlives whatever one look at the disk brings
                log.exception("model.follow_failed")

    async def _follow(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._wanted = self._registry.current(self._kind)
            self._problem = None if self._wanted else NO_MODEL
            if self._wanted is not None and self._wanted != self.version:
                await self._swap(self._wanted)
        except ModelError as error:
            self._problem = str(error)
        finally:
            self._changed.set()

    async def _swap(self, version: str) -> None:
        self._is_loading = True
        started = time.perf_counter()
        try:
            loaded = await asyncio.to_thread(self._load, version)
        except ModelError as error:
            self._problem = str(error)
            log.error("model.refused", extra={"model_version": version, "problem": self._problem})
        else:
            replaced, self._serving, self._problem = self.version, loaded, None
            took_ms = round((time.perf_counter() - started) * 1000)
            log.info("model.serving", extra={"model_version": version, "replaced": replaced, "took_ms": took_ms})
        finally:
            self._is_loading = False

    def _load(self, version: str) -> TrainedUnderstander:
        path = self._registry.path(self._kind, version)
        try:
            loaded = load_understander(path, 1, beside=self._serving)
        except ModelError:
            raise
        except Exception as error:  # a file of the right hash, written by a version of the software that differs
            raise ArtifactInvalid(f"{path}: does not load ({type(error).__name__}: {error}); train again") from error
        if wrong := loaded.replay_probes():  # also the warm-up: the first pass allocates what later ones reuse
            raise ArtifactInvalid(f"{path}: does not answer as when it was trained: {'; '.join(wrong[:3])}")
        return loaded

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._registry.current_file(self._kind).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino


def _estimated_tokens(text: str) -> int:
    # Four Latin characters or one Chinese one make about a token; exact counts would tokenise everything twice.
    wide = sum(char > "⺀" for char in text)
    return 2 + wide + (len(text) - wide) // 4


def _fail(batch: Sequence[Waiting], error: ModelError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
