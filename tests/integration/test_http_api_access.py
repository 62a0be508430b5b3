"""Who may use Rasa's HTTP API: the token, JWTs with roles, and nobody but this machine where neither is set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from bot.errors import ConfigurationError
from bot.rasa.http_access import Access
from tests.lab import running

SECRET = "a secret of at least thirty-two bytes"
TOKEN = "opensesame"


def signed(role: str, username: str = "anna", secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"user": {"username": username, "role": role}, **claims}, secret)


async def asked(http: httpx.AsyncClient, path: str, bearer: str | None = None, **headers: str) -> int:
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    return (await http.get(path, headers=headers)).status_code


async def test_the_token_opens_everything_and_only_it(tmp_path: Path) -> None:
    async with running(tmp_path, api_token=TOKEN) as lab:
        assert await asked(lab.http, "/status") == 401
        assert await asked(lab.http, "/status?token=wrong") == 401
        assert await asked(lab.http, "/status?token=%C3%B6") == 401
        assert await asked(lab.http, f"/status?token={TOKEN}") == 200
        assert await asked(lab.http, "/conversations/anna/tracker", TOKEN) == 200
        assert await asked(lab.http, "/version") == 200
        assert await lab.say("/ask_hours") == ["we are open 9-5"]
        body = (await lab.http.get("/status")).json()
        assert (body["reason"], body["message"]) == ("NotAuthenticated", "User is not authenticated.")


@pytest.mark.parametrize(
    ("bearer", "statuses"),
    [
        (signed("admin"), [200, 200, 200]),
        (signed("user"), [403, 200, 403]),
        (signed("guest"), [403, 403, 403]),
        (jwt.encode({"user": "anna"}, SECRET), [403, 403, 403]),
        (jwt.encode({}, SECRET), [403, 403, 403]),
        (signed("admin", secret="another secret of thirty-two bytes"), [401, 401, 401]),
        (jwt.encode({"user": {"role": "admin"}}, None, algorithm="none"), [401, 401, 401]),
        ("nonsense", [401, 401, 401]),
        (None, [401, 401, 401]),
    ],
)
async def test_a_jwt_opens_what_its_role_may(tmp_path: Path, bearer: str | None, statuses: list[int]) -> None:
    async with running(tmp_path, jwt_secret=SECRET) as lab:
        paths = ("/status", "/conversations/anna/tracker", "/conversations/bert/tracker")
        assert [await asked(lab.http, path, bearer) for path in paths] == statuses


@pytest.mark.parametrize(("ago_s", "status"), [(600, 401), (60, 200)])
async def test_a_jwt_ends_with_a_little_patience_for_clocks(tmp_path: Path, ago_s: int, status: int) -> None:
    async with running(tmp_path, jwt_secret=SECRET) as lab:
        assert await asked(lab.http, "/status", signed("admin", exp=time.time() - ago_s)) == status


async def test_token_and_jwt_stand_beside_each_other(tmp_path: Path) -> None:
    async with running(tmp_path, jwt_secret=SECRET, api_token=TOKEN) as lab:
        assert await asked(lab.http, "/status", signed("admin")) == 200
        assert await asked(lab.http, f"/status?token={TOKEN}") == 200
        assert await asked(lab.http, "/status") == 401


async def test_without_a_secret_only_this_machine_may(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
            assert await asked(lab.http, "/status", host=host) == 200
        # A page that makes its own name mean this machine, a proxy's public name, a page of another site.
        for headers in ({"host": "evil.example"}, {"host": "["}, {"origin": "https://evil.example"}):
            assert await asked(lab.http, "/status", **headers) == 403
        assert await asked(lab.http, "/status", origin="http://localhost:3000") == 200


async def test_beyond_loopback_it_says_what_to_set(tmp_path: Path) -> None:
    async with running(tmp_path, host="0.0.0.0") as lab:
        answer = await lab.http.get("/conversations/anna/tracker")
        assert (answer.status_code, answer.json()["reason"]) == (403, "NotAuthorized")
        assert "KEFU_API_TOKEN" in answer.json()["message"]
        assert await lab.say("/ask_hours") == ["we are open 9-5"]


@pytest.mark.parametrize("method", ["none", "HS255"])
def test_a_signing_method_that_cannot_be_verified_stops_the_start(method: str) -> None:
    with pytest.raises(ConfigurationError, match="KEFU_JWT_METHOD"):
        Access.of(token=None, jwt_secret=SECRET, jwt_method=method, host="127.0.0.1")
