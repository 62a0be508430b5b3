"""Rasa's HTTP API, route by route, as Rasa 3.6.21 serves it with `--enable-api`. `/` and the webhooks stand elsewhere.

Shapes, statuses and errors are Rasa's; what differs is in docs/rasa-compatibility.md.
Invariant: every route but `/version` passes `Access.check` before anything of the request is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bot.rasa.http_conversations import Conversations
from bot.rasa.http_models import Models
from bot.rasa.http_platform import Api
from bot.rasa.http_requests import ApiError
from connectors.base import ConnectorError

Handler = Callable[[Request], Awaitable[Response]]


def api_routes(api: Api) -> list[BaseRoute]:
    """The routes, to be put beside those of the channels."""
    models, conversations = Models(api), Conversations(api)
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/status", models.status),
        ("GET", "/domain", models.domain),
        ("POST", "/model/parse", models.parse),
        ("POST", "/model/predict", models.predict),
        ("POST", "/model/train", models.train),
        ("POST", "/model/test/stories", models.evaluate),
        ("POST", "/model/test/intents", models.evaluate),
        ("PUT", "/model", models.load),
        ("DELETE", "/model", models.unload),
        ("GET", "tracker", conversations.tracker),
        ("POST", "tracker/events", conversations.append),
        ("PUT", "tracker/events", conversations.replace),
        ("GET", "story", conversations.story),
        ("POST", "messages", conversations.log),
        ("POST", "predict", conversations.predict),
        ("POST", "execute", conversations.execute),
        ("POST", "trigger_intent", conversations.trigger),
    ]
    routes: list[BaseRoute] = [Route("/version", models.version, methods=["GET"])]
    for method, path, handler in table:
        full = path if path.startswith("/") else f"/conversations/{{conversation_id:path}}/{path}"
        routes.append(Route(full, _guarded(api, handler), methods=[method]))
    return routes


def _guarded(api: Api, handler: Handler) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            api.access.check(request, request.path_params.get("conversation_id"))
            return await handler(request)
        except ApiError as error:
            return error.response()
        except ConnectorError as error:
            refusal = ApiError(error.http_status, type(error).__name__, str(error), retry_after_s=error.retry_after_s)
            return refusal.response()
        except ClientDisconnect:
            return Response(status_code=400)

    return endpoint
