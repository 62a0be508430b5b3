"""Downloads over real sockets: only to addresses that were checked, only so much, only so long."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from connectors.fetching import Address, FetchFailed, FetchPolicy, FetchRefused, fetch, is_public
from connectors.files import FileTooLarge
from tests.serving import listen, serving

# A certificate for files.example, made for this file alone and believed by nobody else.
KEY = """
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtFwlh/FuX+DN36/qPM83g6us5nZW6wtH7MZX8nq8HNShRANCAASogwWuLO9Qi3OWZwb3
EdVxqZoJpN32uuBuRGNc7xtVMoG1rhz70XGfO79j5FSXiJukDei4dhiEqgf8e2R5UnBO
"""
CERTIFICATE = """
MIIBoTCCAUegAwIBAgIUZOHGmR+uxLjH04JqI72Ye/yBRrswCgYIKoZIzj0EAwIwGDEWMBQGA1UEAwwNZmlsZXMuZXhhbXBsZTAgFw0yNjExMjkwNzA4
MThaGA8yMTI2MTEwNTA3MDgxOFowGDEWMBQGA1UEAwwNZmlsZXMuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKiDBa4s71CLc5ZnBvcR
1XGpmgmk3fa64G5EY1zvG1UygbWuHPvRcZ87v2PkVJeIm6QN6Lh2GISqB/x7ZHlScE6jbTBrMB0GA1UdDgQWBBS1RcNwN2mA9PowWmtvxNxgAuN7sDAf
BgNVHSMEGDAWgBS1RcNwN2mA9PowWmtvxNxgAuN7sDAPBgNVHRMBAf8EBTADAQH/MBgGA1UdEQQRMA+CDWZpbGVzLmV4YW1wbGUwCgYIKoZIzj0EAwID
SAAwRQIgTma16fdCV8sFvPQP0wVkGr+Nmu3fcj+qfpFD0IzIGC4CIQDrfw6bjjhWV7wIG5oADAabWwpOqD5LjPhA83hi3oxB3w==
"""


@dataclass
class Origin:
    """A server that answers what its paths say, and what it was asked."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def routes(self) -> list[Route]:
        async def answer(request: Request) -> Response:
            headers = request.headers
            self.asked.append((headers["host"], request.url.path, headers.get("authorization", "")))
            match request.path_params["what"]:
                case "file":
                    return Response(b"content", media_type="image/png; charset=x")
                case "large":
                    return Response(b"x" * 1_001)
                case "endless":
                    return StreamingResponse(_endless())
                case "packed":
                    return Response(gzip.compress(b"x" * 100), headers={"Content-Encoding": "gzip"})
                case "slow":
                    await asyncio.sleep(30)
                case "again":
                    return RedirectResponse("/again")
                case "to":
                    return RedirectResponse(request.query_params["url"])
                case "encoding":
                    return Response(headers["accept-encoding"])
            return Response(status_code=404)

        return [Route("/{what}", answer)]


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 500
        await asyncio.sleep(0)


@dataclass
class Names:
    """A resolver of these names; what it was asked. A name with several answers gives one after the other."""

    answers: dict[str, list[list[str]]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        found = self.answers.get(host, [[host]])
        return found.pop(0) if len(found) > 1 else found[0]


def only(*allowed: str) -> FetchPolicy:
    """This machine may be asked, under these addresses."""

    def allows(address: Address) -> bool:
        return str(address) in allowed

    return FetchPolicy(schemes=frozenset({"http"}), allows=allows, max_bytes=1_000, within_s=10)


HERE = only("127.0.0.1")


@asynccontextmanager
async def origin() -> AsyncIterator[tuple[str, Origin]]:
    server = Origin()
    async with serving(Starlette(routes=server.routes())) as address:
        yield address, server


# ---- what is fetched ----


async def test_a_file_is_fetched_under_its_name_at_the_address_that_was_checked() -> None:
    names = Names({"files.example": [["127.0.0.1"]]})
    async with origin() as (address, server):
        port = address.split(":")[1]
        found = await fetch(
            f"http://files.example:{port}/file", replace(HERE, resolve=names), {"Authorization": "Bearer t"}
        )
    assert (found.content, found.media_type, found.url) == (
        b"content",
        "image/png",
        f"http://files.example:{port}/file",
    )
    assert server.asked == [(f"files.example:{port}", "/file", "Bearer t")]
    assert names.asked == ["files.example"]


async def test_a_name_that_changes_its_address_meanwhile_is_not_followed() -> None:
    names = Names({"rebind.example": [["127.0.0.1"], ["127.0.0.2"]]})
    async with origin() as (address, server):
        url = f"http://rebind.example:{address.split(':')[1]}"
        assert (await fetch(f"{url}/file", replace(HERE, resolve=names))).content == b"content"
        assert names.asked == ["rebind.example"]
        with pytest.raises(FetchRefused, match="public"):
            await fetch(f"{url}/file", replace(HERE, resolve=names))
    assert len(server.asked) == 1


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    names = Names({"two.example": [["127.0.0.3", "127.0.0.1"]]})
    policy = replace(only("127.0.0.1", "127.0.0.3"), resolve=names)
    async with origin() as (address, _):
        assert (await fetch(f"http://two.example:{address.split(':')[1]}/file", policy)).content == b"content"


async def test_one_forbidden_address_of_a_name_is_enough() -> None:
    names = Names({"mixed.example": [["127.0.0.1", "10.0.0.1"]]})
    async with origin() as (address, server):
        with pytest.raises(FetchRefused, match="public"):
            await fetch(f"http://mixed.example:{address.split(':')[1]}/file", replace(HERE, resolve=names))
    assert server.asked == []


async def test_tls_is_checked_for_the_name_not_for_the_address(tmp_path: Path) -> None:
    def pem(kind: str, body: str) -> str:
        return f"-----BEGIN {kind}-----{body}-----END {kind}-----\n"

    (tmp_path / "key").write_text(pem("PRIVATE KEY", KEY))
    (tmp_path / "certificate").write_text(pem("CERTIFICATE", CERTIFICATE))
    listener = listen()
    config = uvicorn.Config(
        Starlette(routes=Origin().routes()),
        log_level="critical",
        lifespan="off",
        ssl_keyfile=str(tmp_path / "key"),
        ssl_certfile=str(tmp_path / "certificate"),
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    port = listener.getsockname()[1]
    names = Names({"files.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    policy = replace(HERE, schemes=frozenset({"https"}), resolve=names)
    trusting = replace(policy, tls=ssl.create_default_context(cafile=str(tmp_path / "certificate")))
    try:
        assert (await fetch(f"https://files.example:{port}/file", trusting)).content == b"content"
        with pytest.raises(FetchFailed):
            await fetch(f"https://other.example:{port}/file", trusting)
        with pytest.raises(FetchFailed):
            await fetch(f"https://files.example:{port}/file", policy)
    finally:
        server.should_exit = True
        await task
        listener.close()


# ---- what is refused ----


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/x",
        "ftp://files.example/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//files.example/x",
        "/etc/passwd",
        "",
        "https://",
        "https:///x",
        "https://[::1",
        "https://user@files.example/x",
        "https://user:pass@files.example/x",
        "https://127.0.0.1\\@files.example/x",
        "https://files.example%00.evil.example/",
        "https://[fe80::1%25eth0]/",
        "https://files.example:99999999/",
        "https://a\r\nHost: b/",
        "https://0177.0.0.1/",
        "https://" + "a" * 70_000,
    ],
)
async def test_an_address_of_another_kind_is_refused_unasked(url: str) -> None:
    names = Names({})
    with pytest.raises(FetchRefused):
        await fetch(url, FetchPolicy(resolve=names))
    assert names.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1",
        "localhost",
        "localhost.",
        "0.0.0.0",
        "0",
        "127.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "127。0。0。1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "2852039166",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2002:a9fe:a9fe::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[3fff::1]",
    ],
)
async def test_what_only_this_machine_can_reach_is_refused(host: str) -> None:
    with pytest.raises((FetchRefused, FetchFailed)) as caught:
        await fetch(f"https://{host}/", FetchPolicy(within_s=5))
    # A system may not read one of these forms at all; none may be tried.
    assert "public" in str(caught.value) or "cannot be found" in str(caught.value)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/file",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706434:{port}/file",
        "http://[::1]:{port}/file",
        "//127.0.0.2:{port}/file",
        "https://127.0.0.1:{port}/file",
        "file:///etc/passwd",
        "http://user@127.0.0.1:{port}/file",
        "http://127.0.0.1:0/file",
    ],
)
async def test_a_redirect_is_checked_as_the_first_address_was(target: str) -> None:
    async with origin() as (address, server):
        url = target.format(port=address.split(":")[1])
        with pytest.raises(FetchRefused):
            await fetch(f"http://{address}/to?url={url}", HERE)
    assert [path for _, path, _ in server.asked] == ["/to"]


async def test_redirects_are_followed_so_far_and_no_further() -> None:
    async with origin() as (address, server):
        assert (await fetch(f"http://{address}/to?url=/file", HERE)).content == b"content"
        server.asked.clear()
        with pytest.raises(FetchRefused, match="3 redirects"):
            await fetch(f"http://{address}/again", HERE)
        assert len(server.asked) == 4


async def test_a_redirect_to_no_address_has_failed() -> None:
    async with origin() as (address, _):
        with pytest.raises(FetchFailed):
            await fetch(f"http://{address}/to?url=http://[::1", HERE)


async def test_a_token_is_not_handed_on_to_another_server() -> None:
    names = Names({"one.example": [["127.0.0.1"]], "two.example": [["127.0.0.1"]]})
    policy = replace(HERE, resolve=names)
    async with origin() as (address, server):
        port = address.split(":")[1]
        url = f"http://one.example:{port}/to?url="
        await fetch(f"{url}/file", policy, {"Authorization": "Bearer t"})
        await fetch(f"{url}http://two.example:{port}/file", policy, {"Authorization": "Bearer t"})
    assert [token for _, path, token in server.asked if path == "/file"] == ["Bearer t", ""]


@pytest.mark.parametrize("what", ["large", "endless", "packed"])
async def test_what_is_too_large_or_packed_is_refused(what: str) -> None:
    async with origin() as (address, _):
        refusal, why = (FetchRefused, "packed") if what == "packed" else (FileTooLarge, "larger than 1000 bytes")
        with pytest.raises(refusal, match=why):
            await fetch(f"http://{address}/{what}", HERE)


async def test_what_does_not_come_in_time_or_not_at_all_has_failed() -> None:
    async with origin() as (address, _):
        with pytest.raises(FetchFailed, match="longer than"):
            await fetch(f"http://{address}/slow", replace(HERE, within_s=0.2))
        with pytest.raises(FetchRefused, match="404"):
            await fetch(f"http://{address}/nothing", HERE)
    with pytest.raises(FetchFailed):
        await fetch(f"http://{address}/file", HERE)


async def test_a_name_that_is_none_has_failed() -> None:
    names = Names({"nowhere.example": [[]], "odd.example": [["not an address"]]})
    for host in names.answers:
        with pytest.raises(FetchFailed, match="cannot be found"):
            await fetch(f"http://{host}/", replace(HERE, resolve=names))


async def test_nothing_is_taken_from_the_environment_s_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    async with origin() as (address, _), origin() as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        assert (await fetch(f"http://{address}/file", HERE)).content == b"content"
    assert asked.asked == []
