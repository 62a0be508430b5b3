"""The understanding model past one machine: replicas on a Ray cluster, behind Ray Serve's HTTP proxies.

A replica is the in-process runtime in a process of its own: the same micro-batcher, the same folder of versions (which
every node sees), the same following of CURRENT. Serve places the replicas, replaces dead ones, and shares requests
among them; `client.py` is the other side. Ray is imported only where a cluster is really used.
Invariant: a replica answers with what `ServedUnderstander` answers, or says why not; its queues are bounded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from models.base import KIND, ModelError, ModelUnavailable, ReadingFailed
from models.registry import Registry
from models.runtime import ServedUnderstander
from models.wire import (
    BROKE,
    MALFORMED,
    OK,
    UNAVAILABLE,
    Report,
    Unreadable,
    read_texts,
    write_problem,
    write_readings,
    write_report,
)

if TYPE_CHECKING:
    from starlette.requests import Request

# Requests of one replica at once: a client puts what came together into one, so this is some hundred texts.
MAX_ONGOING = 32
# Requests that wait in a proxy beyond that; the next one is refused with 503, and its message waits in the inbox.
MAX_QUEUED = 128
# Serve gives a replica up after three checks that failed.
HEALTH_EVERY_S, HEALTH_WITHIN_S = 5.0, 15.0
# Longer than a reading may take: what was accepted is answered before a replica ends.
DRAINS_WITHIN_S = 12.0
# Messages travel beside Ray's object store, never through it; Ray's own minimum is this much.
OBJECT_STORE_BYTES = 80 * 2**20


class RayMissing(ModelError):
    """Ray is not installed: pip install 'kefu[ray]'."""

    def __init__(self) -> None:
        super().__init__("Ray is not installed; pip install 'kefu[ray]'")


class Unhealthy(Exception):
    """This replica has to be replaced; Serve does so."""


class Replica:
    """One process that reads texts: `ServedUnderstander` behind HTTP, made and asked by Serve."""

    def __init__(self, models_dir: str, assistant_id: str, threads: int, replicas: int) -> None:
        self._served = ServedUnderstander(Registry(Path(models_dir), assistant_id), KIND, threads)
        self._replicas = replicas
        self._is_started = False
        self._answered, self._answered_before = 0, -1

    async def reconfigure(self, _: Any) -> None:
        """Load what CURRENT names, then follow it; Serve awaits this before the first request.

        Without a version that can serve the replica lives all the same, and says why it cannot answer: to be started
        again and again would not help.
        """
        if not self._is_started:
            self._is_started = True
            await self._served.start()

    async def stop(self) -> None:
        """Let the pass that runs finish. Serve need not: it waits for requests in flight, then ends the process."""
        await self._served.stop()

    async def check_health(self) -> None:
        """Raises Unhealthy where nobody follows CURRENT any more, or texts wait and none was read since last time."""
        if not self._served.is_following:
            raise Unhealthy("nobody follows CURRENT any more")
        is_stuck = self._served.status().waiting > 0 and self._answered == self._answered_before
        self._answered_before = self._answered
        if is_stuck:
            raise Unhealthy("texts wait, and none was read since the last check")

    async def __call__(self, request: Request) -> Response:
        if request.method != "POST":
            return _json(OK, write_report(self._report()))
        try:
            readings = await self._served.understand(read_texts(await request.body()))
        except Unreadable as error:
            return _json(MALFORMED, write_problem(str(error)))
        except ModelUnavailable as error:
            return _json(UNAVAILABLE, write_problem(str(error)))
        except ReadingFailed as error:
            self._answered += 1
            return _json(BROKE, write_problem(str(error)))
        self._answered += 1
        return _json(OK, write_readings(readings))

    def _report(self) -> Report:
        node, pid = os.uname().nodename, os.getpid()
        return Report(
            replica=f"{node}:{pid}", node=node, pid=pid, replicas=self._replicas, status=self._served.status()
        )


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to deploy, and where.

    Attributes:
        address: the Ray cluster to join ("auto", or its head's host:port), from one of its nodes; None starts one on
            this machine that ends with this process.
        threads: passes beside each other in one replica; as many CPUs are reserved for it.
    """

    models_dir: Path
    assistant_id: str
    replicas: int
    threads: int
    host: str
    port: int
    address: str | None = None


@contextmanager
def deployed(plan: Plan) -> Iterator[str]:
    """Let replicas serve while this lasts; gives the URL that answers here. They are gone afterwards.

    On a cluster that was joined only this assistant's replicas go; other applications stay.
    Raises RayMissing; ModelUnavailable where the cluster cannot be joined.
    """
    try:
        import ray
        from ray import serve
        from ray.serve.config import ProxyLocation
    except ImportError as error:
        raise RayMissing from error
    _join(ray, plan)
    app = f"kefu-{plan.assistant_id}"
    try:
        serve.start(
            # One on every node that has a replica: whichever node is lost, the others still answer.
            proxy_location=ProxyLocation.EveryNode,
            http_options={"host": plan.host, "port": plan.port},
            logging_config={"enable_access_log": False},
        )
        serve.run(_application(serve, plan), name=app, route_prefix=f"/{plan.assistant_id}")
        yield f"http://{plan.host}:{plan.port}/{plan.assistant_id}"
    finally:
        if plan.address is None:
            serve.shutdown()
        else:
            serve.delete(app)
        ray.shutdown()


def _join(ray: Any, plan: Plan) -> None:
    quiet = {"logging_level": "WARNING", "log_to_driver": True}
    if plan.address is None:
        # Reserved, not used: a replica always has its place, on a laptop with two cores too.
        cpus = max(1, plan.replicas * plan.threads)
        # "local": a cluster of its own even where RAY_ADDRESS names one, whose applications would end with ours.
        ray.init("local", include_dashboard=False, num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        return
    try:
        ray.init(address=plan.address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise ModelUnavailable(
            f"no Ray cluster at {plan.address} ({error}); run this on one of its nodes, after `ray start`, "
            "as the same user (Ray's token is in ~/.ray/auth_token)"
        ) from error


def _application(serve: Any, plan: Plan) -> Any:
    deployment = serve.deployment(
        name="understanding",
        num_replicas=plan.replicas,
        max_ongoing_requests=MAX_ONGOING,
        max_queued_requests=MAX_QUEUED,
        health_check_period_s=HEALTH_EVERY_S,
        health_check_timeout_s=HEALTH_WITHIN_S,
        graceful_shutdown_timeout_s=DRAINS_WITHIN_S,
        ray_actor_options={"num_cpus": plan.threads},
        user_config={},  # what makes Serve call `reconfigure`
    )(Replica)
    return deployment.bind(str(plan.models_dir), plan.assistant_id, plan.threads, plan.replicas)
