"""Who may use Rasa's HTTP API: `?token=`, a JWT with a role, or, where neither is set up, this machine alone.

Invariant: nothing is open to the network by default; secrets are compared in constant time and never logged.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from starlette.requests import Request

from bot.errors import ConfigurationError
from bot.rasa.http_requests import ApiError

_HELP = "/user-guide/configuring-http-api/#security-considerations"

_LEEWAY_S = 180
"""How far the clock of whoever signs may be off, as in Rasa's server."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The rules of one server. Build it with `Access.of`.

    Attributes:
        is_local: the server listens on a loopback address only.
    """

    token: str | None
    jwt_secret: str | None
    jwt_method: str
    is_local: bool

    @staticmethod
    def of(*, token: str | None, jwt_secret: str | None, jwt_method: str, host: str) -> Access:
        """Raises ConfigurationError for a JWT method that cannot be verified here."""
        if jwt_secret:
            check_method(jwt_method)
        return Access(token=token, jwt_secret=jwt_secret, jwt_method=jwt_method, is_local=is_loopback(host))

    def check(self, request: Request, conversation_id: str | None) -> None:
        """Let an authorised request pass.

        Args:
            conversation_id: the conversation that the path names; what a JWT's `user` may use is only its own.
        Raises:
            ApiError: 401 where nobody proved who they are, 403 where it is somebody who may not.
        """
        bearer = _bearer(request)
        if self.token and any(_is_same(given, self.token) for given in (request.query_params.get("token"), bearer)):
            return
        if self.jwt_secret:
            claims = self._claims(bearer)
            if claims is None:
                raise _not_authenticated()
            if not _may_use(claims, conversation_id):
                raise ApiError(403, "NotAuthorized", "User has insufficient permissions.", help_path=_HELP)
            return
        if self.token:
            raise _not_authenticated()
        self._check_local(request)

    def _claims(self, bearer: str | None) -> dict[str, Any] | None:
        if bearer is None or self.jwt_secret is None:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(bearer, self.jwt_secret, algorithms=[self.jwt_method], leeway=_LEEWAY_S)
        except (jwt.PyJWTError, ValueError):
            return None
        return claims

    def _check_local(self, request: Request) -> None:
        """Without a secret only this machine may: not the network, no page of another site in this machine's browser,
        and no proxy that passes a public name on."""
        origin = request.headers.get("origin")
        is_own_page = origin is None or is_loopback(_host_of(origin))
        if self.is_local and is_own_page and is_loopback(_host_of(f"//{request.headers.get('host', '')}")):
            return
        raise ApiError(
            403,
            "NotAuthorized",
            "The HTTP API is open to this machine only, as long as neither KEFU_API_TOKEN nor KEFU_JWT_SECRET is set. "
            "Set one of them, start again, and send ?token=... or a JWT as a bearer token.",
            help_path=_HELP,
        )


def check_method(method: str) -> None:
    """Raises ConfigurationError for a signing method that PyJWT does not have here."""
    try:
        if method == "none":
            raise NotImplementedError
        jwt.get_algorithm_by_name(method)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"KEFU_JWT_METHOD: {method!r} cannot be verified; use HS256, HS384 or HS512, or install the package "
            "`cryptography` for RS256 and ES256"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _bearer(request: Request) -> str | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" and given.strip() else None


def _is_same(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(errors="replace"), token.encode(errors="replace"))


def _may_use(claims: dict[str, Any], conversation_id: str | None) -> bool:
    user = claims.get("user")
    if not isinstance(user, dict):
        return False
    if user.get("role") == "admin":
        return True
    return user.get("role") == "user" and conversation_id is not None and user.get("username") == conversation_id


def _not_authenticated() -> ApiError:
    return ApiError(401, "NotAuthenticated", "User is not authenticated.", help_path=_HELP)
