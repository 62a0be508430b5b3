"""Rasa's HTTP API about the model and the assistant: what serves, what it reads in a text, training, switching.

Conversations are `http_conversations`. Invariant: nothing here changes a conversation.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from io import StringIO
from pathlib import PurePosixPath
from typing import IO, Any

import httpx
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from bot import __version__
from bot.assistant.domain import DEFAULT_ACTIONS
from bot.dialogue.manager import DialogueModel
from bot.rasa.action_server import PROTOCOL_VERSION
from bot.rasa.http_platform import Api
from bot.rasa.http_requests import (
    ApiError,
    bad_request,
    body_bytes,
    events_of,
    flag,
    json_object,
    parse_json,
    verbosity_of,
)
from bot.rasa.http_training import Trained
from bot.rasa.tracker_views import TrackerView
from bot.turns import read_message
from models.base import KIND, ModelError, ModelUnavailable, ReadingFailed
from models.client import RemoteUnderstander
from models.registry import VERSION
from models.runtime import ServedUnderstander

log = logging.getLogger("kefu.rasa_api")

MAX_TRAINING_BYTES = 64 * 1024 * 1024
_DEFAULT_SENDER = "default"
_LOADS_WITHIN_S = 120.0
_EMULATED = ("WIT", "LUIS", "DIALOGFLOW")


class Models:
    """The handlers; each takes a request that is allowed already."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._callbacks: set[asyncio.Task[None]] = set()

    # ---- what serves ----

    async def version(self, _: Request) -> Response:
        """Whose interface this is; a client that wants to know who speaks it reads `kefu`."""
        known = {"version": PROTOCOL_VERSION, "minimum_compatible_version": PROTOCOL_VERSION}
        return JSONResponse({**known, "kefu": __version__})

    async def status(self, _: Request) -> Response:
        version = self._served_version()
        return JSONResponse(
            {
                "model_file": f"{version}.tar.gz",
                "model_id": version,
                "num_active_training_jobs": self._api.trainer.active_count,
            }
        )

    async def domain(self, request: Request) -> Response:
        """As JSON or YAML. A client that takes anything gets JSON; Rasa refuses it, for no use to anyone."""
        accepted = request.headers.get("accept", "application/json").split(",")[0].partition(";")[0].strip()
        domain = self._api.bot().assistant.domain
        if accepted.endswith("json") or accepted == "*/*":
            return JSONResponse(domain.raw)
        if accepted.endswith(("yml", "yaml")):
            stream = StringIO()
            YAML().dump({**domain.raw, "version": DoubleQuotedScalarString("3.1")}, stream)
            return Response(stream.getvalue(), media_type="application/x-yaml")
        raise ApiError(
            406,
            "NotAcceptable",
            'Invalid Accept header. Domain can be provided as json ("Accept: application/json") or yml '
            '("Accept: application/x-yaml"). Make sure you\'ve set the appropriate Accept header.',
        )

    def _served_version(self) -> str:
        version = self._api.understander.version
        if not version:
            raise ApiError(
                409,
                "Conflict",
                "No agent loaded. To continue processing, a model of a trained agent needs to be loaded.",
                help_path="/user-guide/configuring-http-api/",
            )
        return version

    # ---- what it reads and decides ----

    async def parse(self, request: Request) -> Response:
        self._served_version()
        body = await json_object(
            request,
            "No text message defined in request_body. Add text message to request body in order to obtain the intent "
            "and extracted entities.",
        )
        _refuse_emulation(request)
        text = body.get("text")
        if isinstance(text, list) and text:
            text = text[0]
        if not isinstance(text, str):
            raise ApiError(500, "ParsingError", "An unexpected error occurred. Error: `text` is missing or no string")
        try:
            reading = await read_message(text.strip(), self._api.bot(), self._api.understander)
        except ModelUnavailable as error:
            raise ApiError(
                503, "ParsingError", f"An unexpected error occurred. Error: {error}", retry_after_s=1
            ) from error
        except ReadingFailed as error:
            raise ApiError(400, "ParsingError", f"An unexpected error occurred. Error: {error}") from error
        return JSONResponse(reading.parse_data)

    async def predict(self, request: Request) -> Response:
        """The next action of a conversation that the request brings along."""
        verbosity = verbosity_of(request)
        events = events_of(parse_json(await body_bytes(request)), time.time())
        bot = self._api.bot()
        view = await asyncio.to_thread(TrackerView.of, bot.assistant.domain, _DEFAULT_SENDER, events)
        predicted = await asyncio.to_thread(next_action, bot.dialogue, view)
        return JSONResponse({**predicted, "tracker": view.as_json(verbosity)})

    # ---- training and switching ----

    async def train(self, request: Request) -> Response:
        raw = await body_bytes(request, MAX_TRAINING_BYTES)
        if not raw.strip():
            raise bad_request("You must provide training data in the request body in order to train your model.")
        try:
            document = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise bad_request("The request body does not contain valid YAML. Error: it is not UTF-8") from error
        keep = flag(request, "save_to_default_model_directory", default=True)
        if callback := request.query_params.get("callback_url"):
            self._in_background(self._train_and_call(document, callback, keep=keep))
            return Response(status_code=204)
        trained = await self._api.trainer.train(document, keep=keep)
        return StreamingResponse(_pieces(trained.archive), headers=_archive_headers(trained))

    async def _train_and_call(self, document: str, url: str, *, keep: bool) -> None:
        """Rasa's asynchronous way: the archive, or the error, is posted to the address that the request named."""
        async with httpx.AsyncClient(timeout=60) as http:
            try:
                try:
                    trained = await self._api.trainer.train(document, keep=keep)
                    with trained.archive:
                        content = await asyncio.to_thread(trained.archive.read)
                    await http.post(url, content=content, headers=_archive_headers(trained))
                except ApiError as error:
                    await http.post(url, json=error.as_json())
            except (httpx.HTTPError, httpx.InvalidURL):
                log.exception("rasa_api.callback_failed")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def load(self, request: Request) -> Response:
        """Serve another version of ours. Rules, stories and responses are files: they follow `kefu serve --reload`."""
        body = await json_object(request, "No path to model file defined in request_body.")
        if body.get("model_server") or body.get("remote_storage"):
            raise ApiError(501, "NotImplemented", "Kefu serves the versions in its own registry: give `model_file`.")
        named = body.get("model_file")
        version = PurePosixPath(named).name.removesuffix(".tar.gz") if isinstance(named, str) else ""
        if not VERSION.fullmatch(version):
            raise _unloadable(named, "it names no version of ours, such as 20261123T164000-ab12cd34")
        try:
            await asyncio.to_thread(self._api.registry.promote, KIND, version)
        except ModelError as error:
            raise _unloadable(named, str(error)) from error
        await self._loaded(version)
        return Response(status_code=204)

    async def _loaded(self, version: str) -> None:
        understander = self._api.understander
        if not isinstance(understander, ServedUnderstander | RemoteUnderstander):
            return
        try:
            async with asyncio.timeout(_LOADS_WITHIN_S):
                status = await understander.settled(version)
        except TimeoutError as error:
            raise ApiError(
                500, "LoadingError", f"An unexpected error occurred. Error: {version} did not load in time"
            ) from error
        if status.problem:
            raise ApiError(500, "LoadingError", f"An unexpected error occurred. Error: {status.problem}")

    async def unload(self, _: Request) -> Response:
        raise ApiError(
            501,
            "NotImplemented",
            "Kefu does not unload a model: its customers would wait. PUT /model replaces it without a gap.",
        )

    async def evaluate(self, _: Request) -> Response:
        raise ApiError(
            501, "NotImplemented", "Kefu does not evaluate over HTTP; `kefu evaluate` does so on the command line."
        )


def next_action(dialogue: DialogueModel, view: TrackerView) -> dict[str, Any]:
    """Rasa's prediction: the score of every action, built-in ones first, and which policy says so."""
    domain, followup = dialogue.assistant.domain, view.tracker.situation.followup_action
    if followup is not None and followup in domain.action_names:
        scores, policy, confidence = {followup: 1.0}, "followup_action", 1.0
        view.tracker.situation.followup_action = None
    else:
        choice = dialogue.policies.predict(view.tracker)
        scores, policy, confidence = dict(choice.prediction.scores), choice.prediction.policy, choice.confidence
        if view.tracker.rejected_action is not None:
            scores[view.tracker.rejected_action] = 0.0
    names = dict.fromkeys((*DEFAULT_ACTIONS, *sorted(domain.action_names), *scores))
    return {
        "scores": [{"action": name, "score": scores.get(name, 0.0)} for name in names],
        "policy": policy,
        "confidence": confidence,
    }


def _refuse_emulation(request: Request) -> None:
    mode = request.query_params.get("emulation_mode")
    if mode is None:
        return
    if mode.upper() not in _EMULATED:
        raise bad_request(
            "Invalid parameter value for 'emulation_mode'. Should be one of 'WIT', 'LUIS', 'DIALOGFLOW'.",
            "emulation_mode",
            "query",
        )
    raise ApiError(501, "NotImplemented", "Kefu answers /model/parse in Rasa's own format only.")


def _unloadable(named: object, why: str) -> ApiError:
    return ApiError(
        400,
        "BadRequest",
        f"Agent with name '{named}' could not be loaded: {why}",
        details={"parameter": "model", "in": "query"},
    )


def _archive_headers(trained: Trained) -> dict[str, str]:
    name = f"{trained.version}.tar.gz"
    return {
        "filename": name,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Type": "application/gzip",
        "Content-Length": str(trained.size),
    }


def _pieces(archive: IO[bytes]) -> Iterator[bytes]:
    with archive:
        while piece := archive.read(1 << 20):
            yield piece
