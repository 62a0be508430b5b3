"""Files over real HTTP: handed over, named in a message, shown in the conversation, opened by their links."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from connectors.base import InboundMessage
from connectors.file_routes import UploadLimits
from connectors.files import FileRules
from connectors.memory import MemoryFiles, MemoryPorts
from connectors.visitors import new_visitor_id, visitor_token
from connectors.webchat import WebChat
from tests.chat_client import Frame, chat, said
from tests.lab import Lab, running
from tests.sample_files import GIF, JPEG, PAGE, PDF, PROGRAM, png
from tests.serving import serving

SECRET = b"the server's secret of this test"
SHOP = "https://shop.example"


@dataclass
class Bot:
    """Keeps what it was given, says what it read, and shows `image` if there is one."""

    received: list[InboundMessage] = field(default_factory=list)
    image: str | None = None

    def __call__(self, message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        self.received.append(message)
        return [{"text": f"I read {message.text}", **({"image": self.image} if self.image else {})}]


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A served web chat and an HTTP client of it."""

    address: str
    http: httpx.AsyncClient
    ports: MemoryPorts
    bot: Bot

    async def upload(
        self,
        content: bytes = png(),
        name: str = "photo.png",
        *,
        visitor: str | None = None,
        media_type: str = "image/png",
        **headers: str,
    ) -> httpx.Response:
        token = visitor_token(new_visitor_id(), SECRET) if visitor is None else visitor
        files = {"file": (name, content, media_type)}
        return await self.http.post("/webchat/upload", files=files, headers={"X-Kefu-Visitor": token, **headers})


@asynccontextmanager
async def shop(
    rules: FileRules | None = None, limits: UploadLimits | None = None, clock: Any = None, **options: Any
) -> AsyncIterator[Shop]:
    bot = Bot()
    files = MemoryFiles(rules, clock) if clock else MemoryFiles(rules)
    ports = MemoryPorts(bot, files=files)
    web = WebChat(dict, SECRET, upload_limits=limits, **options)
    async with (
        serving(Starlette(routes=web.routes(ports))) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as http,
    ):
        yield Shop(address=address, http=http, ports=ports, bot=bot)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Rasa's error shape, checked; its status and reason."""
    body = answer.json()
    assert set(body) == {"status", "message", "reason", "code"}
    assert (body["status"], body["code"]) == ("failure", answer.status_code)
    assert body["message"]
    return answer.status_code, body["reason"]


# ---- handing over ----


async def test_a_file_is_taken_and_its_link_opens_it() -> None:
    async with shop() as here:
        answer = await here.upload(png(3_000), "Mein Stuhl.png")
        assert answer.status_code == 200, answer.text
        file = answer.json()
        assert set(file) == {"id", "name", "media_type", "size", "url"}
        assert (file["name"], file["media_type"], file["size"]) == ("Mein Stuhl.png", "image/png", 3_000)
        opened = await here.http.get(file["url"])
    assert (opened.status_code, opened.content, opened.headers["content-type"]) == (200, png(3_000), "image/png")


async def test_ten_megabytes_are_taken_and_a_byte_more_is_not() -> None:
    limit = 10 * 1024 * 1024
    async with shop() as here:
        assert (await here.upload(png(limit))).json()["size"] == limit
        answer = await here.upload(png(limit + 1))
        assert refusal(answer) == (413, "FileTooLarge")
        assert "10 MB" in answer.json()["message"]


async def raw(address: str, head: str, body: bytes = b"") -> bytes:
    """The beginning of the answer to a request that is never sent to its end."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{head}\r\n\r\n".encode() + body)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    finally:
        writer.close()


def head_of(token: str, length: str) -> str:
    return (
        "POST /webchat/upload HTTP/1.1\r\nHost: x\r\n"
        f"X-Kefu-Visitor: {token}\r\nContent-Type: multipart/form-data; boundary=b\r\n{length}"
    )


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


async def test_an_announced_length_is_refused_before_a_byte_is_read() -> None:
    token = visitor_token(new_visitor_id(), SECRET)
    async with shop(FileRules(max_bytes=1_000)) as here:
        for length in ("20000", "9" * 18):
            answer = await raw(here.address, head_of(token, f"Content-Length: {length}"))
            assert answer.startswith(b"HTTP/1.1 413")


async def test_a_length_that_was_not_announced_is_refused_while_it_is_read() -> None:
    token = visitor_token(new_visitor_id(), SECRET)
    body = PART + bytes(20_000)
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n"  # and no last chunk: the server must not wait for it
    async with shop(FileRules(max_bytes=1_000)) as here:
        answer = await raw(here.address, head_of(token, "Transfer-Encoding: chunked"), chunk)
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_slow_upload_is_given_up() -> None:
    token = visitor_token(new_visitor_id(), SECRET)
    async with shop(limits=UploadLimits(within_s=0.1)) as here:
        answer = await raw(here.address, head_of(token, "Content-Length: 5000"), PART)
        assert answer.startswith(b"HTTP/1.1 400")
        assert (await here.upload()).status_code == 200


@pytest.mark.parametrize("token", ["", "nonsense", "a" * 22 + ".AAAA", visitor_token("a" * 22, b"another")])
async def test_only_a_visitor_of_ours_may_upload(token: str) -> None:
    async with shop() as here:
        assert refusal(await here.upload(visitor=token)) == (401, "Unauthorized")


async def test_only_allowed_pages_may_upload_and_they_may_from_elsewhere() -> None:
    async with shop(allowed_origins=[SHOP]) as here:
        bad = await here.upload(Origin="https://evil.example")
        assert refusal(bad) == (403, "OriginRefused")
        assert "access-control-allow-origin" not in bad.headers
        asked = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "x-kefu-visitor"
        preflight = await here.http.options("/webchat/upload", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == SHOP
        assert preflight.headers["access-control-allow-headers"].lower() == "x-kefu-visitor"
        assert (
            await here.http.options("/webchat/upload", headers={"Origin": "https://evil.example"})
        ).status_code == 403
        good = await here.upload(Origin=SHOP)
        assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, SHOP)
        refused = await here.upload(PROGRAM, Origin=SHOP)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (415, SHOP)


BAD_BODIES: dict[str, tuple[str, bytes]] = {
    "no form": ("application/json", b"{}"),
    "no boundary": ("multipart/form-data", b"--b--"),
    "nothing": ("multipart/form-data; boundary=b", b""),
    "no multipart": ("multipart/form-data; boundary=b", b"hello"),
    "another field": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="x"; filename="a.png"\r\n\r\nx\r\n--b--\r\n',
    ),
    "text in the field": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
    ),
    "two files": ("multipart/form-data; boundary=b", (PART + png() + b"\r\n") * 2 + b"--b--\r\n"),
    "cut off": ("multipart/form-data; boundary=b", PART + png()),
    "an empty file": ("multipart/form-data; boundary=b", PART + b"\r\n--b--\r\n"),
    "many fields": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nx\r\n' * 50 + b"--b--\r\n",
    ),
    "a header without a name": ("multipart/form-data; boundary=b", b"--b\r\n: x\r\n\r\nx\r\n--b--\r\n"),
    "no disposition": ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nx\r\n--b--\r\n"),
    "a wild charset": ("multipart/form-data; boundary=b; charset=no-such", PART[:-4] + b"\r\n--b--"),
}


@pytest.mark.parametrize("what", BAD_BODIES)
async def test_a_malformed_body_is_a_400(what: str) -> None:
    media_type, body = BAD_BODIES[what]
    headers = {"X-Kefu-Visitor": visitor_token(new_visitor_id(), SECRET), "Content-Type": media_type}
    async with shop() as here:
        answer = await here.http.post("/webchat/upload", content=body, headers=headers)
    assert refusal(answer) == (400, "BadRequest")


PIECES = st.sampled_from(
    [
        b"--b\r\n",
        b"--b--\r\n",
        b"--b",
        b"\r\n",
        PART,
        PART[5:],
        b'Content-Disposition: form-data; name="file"',
        b": ",
        b"=",
    ]
)


@given(
    st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join), st.sampled_from(["b", '"b"', "", '"', "é"])
)
def test_no_body_breaks_the_reader(body: bytes, boundary: str) -> None:
    media_type = f"multipart/form-data; boundary={boundary}".encode()
    token = visitor_token(new_visitor_id(), SECRET)

    async def answer() -> httpx.Response:
        app = Starlette(routes=WebChat(dict, SECRET).routes(MemoryPorts()))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
            headers = [(b"content-type", media_type), (b"x-kefu-visitor", token.encode())]
            return await http.post("/webchat/upload", content=body, headers=headers)

    assert asyncio.run(answer()).status_code in {200, 400, 415}


@pytest.mark.parametrize("content", [PROGRAM, PAGE, GIF[:-1] + PDF])
async def test_a_lying_content_type_and_name_are_not_believed(content: bytes) -> None:
    async with shop() as here:
        answer = await here.upload(content, "photo.png", media_type="image/png")
        assert refusal(answer) == (415, "UnwantedFile")


async def test_the_content_says_what_it_is_not_the_sender() -> None:
    async with shop() as here:
        file = (await here.upload(JPEG, "../../evil.html", media_type="text/html")).json()
        assert (file["name"], file["media_type"]) == ("evil.html.jpg", "image/jpeg")
        opened = await here.http.get(file["url"])
    assert opened.headers["content-type"] == "image/jpeg"


async def test_so_many_files_an_hour() -> None:
    token = visitor_token(new_visitor_id(), SECRET)
    async with shop(FileRules(max_per_hour=2)) as here:
        answers = [await here.upload(visitor=token) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert refusal(answers[2]) == (429, "TooOften")
        assert int(answers[2].headers["retry-after"]) > 0
        assert (await here.upload()).status_code == 200


async def test_a_full_store_says_so_before_it_reads() -> None:
    async with shop(FileRules(total_bytes=2_000)) as here:
        assert (await here.upload(png(2_000))).status_code == 200
        assert refusal(await here.upload(png(100))) == (507, "StoreFull")


async def test_one_visitor_has_so_many_uploads_at_once_and_all_of_them_so_much_room() -> None:
    token = visitor_token(new_visitor_id(), SECRET)
    host_port: list[str]
    async with shop(limits=UploadLimits(at_once_per_visitor=1, at_once=2, held_bytes=50_000)) as here:
        host_port = here.address.split(":")
        _, first = await asyncio.open_connection(host_port[0], int(host_port[1]))
        first.write(f"{head_of(token, 'Content-Length: 9000')}\r\n\r\n".encode() + PART)
        await first.drain()
        while (answer := await here.upload(visitor=token)).status_code == 200:
            pass  # the one before has not been seen yet
        assert refusal(answer) == (429, "TooManyAtOnce")
        assert refusal(await here.upload(png(60_000))) == (503, "TooBusy")
        assert (await here.upload(png(10_000))).status_code == 200
        first.close()


class Broken(MemoryFiles):
    async def put(self, *_: Any) -> Any:
        raise OSError("no space left on /var/secret")


async def test_a_store_that_failed_is_a_503_without_its_secrets() -> None:
    ports = MemoryPorts(Bot(), files=Broken())
    async with serving(Starlette(routes=WebChat(dict, SECRET).routes(ports))) as address, httpx.AsyncClient() as http:
        answer = await http.post(
            f"http://{address}/webchat/upload",
            files={"file": ("a.png", png())},
            headers={"X-Kefu-Visitor": visitor_token(new_visitor_id(), SECRET), "Origin": SHOP},
        )
    assert refusal(answer) == (503, "TooBusy")
    assert "secret" not in answer.text
    assert answer.headers["access-control-allow-origin"] == SHOP


# ---- opening ----


async def test_what_is_opened_cannot_run_and_is_not_kept_by_proxies() -> None:
    async with shop() as here:
        image, document = (await here.upload()).json(), (await here.upload(PDF, "a; x=é.pdf")).json()
        opened = [await here.http.get(file["url"]) for file in (image, document)]
    for answer in opened:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert opened[0].headers["content-disposition"].startswith("inline;")
    disposition = opened[1].headers["content-disposition"]
    assert disposition == "attachment; filename=\"a; x=_.pdf\"; filename*=UTF-8''a%3B%20x%3D%C3%A9.pdf"


@pytest.mark.parametrize("content", [b"<GIF89a", GIF[:6] + b"/*" + PAGE + b"*/=1;alert(1)//"])
async def test_a_picture_that_is_also_a_script_is_only_ever_a_picture(content: bytes) -> None:
    async with shop() as here:
        answer = await here.upload(content, "a.js", media_type="text/javascript")
        if not content.startswith(b"GIF"):
            assert refusal(answer) == (415, "UnwantedFile")
            return
        file = answer.json()
        opened = await here.http.get(file["url"])
    assert file["name"] == "a.js.gif"
    assert (opened.headers["content-type"], opened.headers["x-content-type-options"]) == ("image/gif", "nosniff")
    assert "sandbox" in opened.headers["content-security-policy"]


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_expired_and_forged_links_open_nothing() -> None:
    clock = Clock()
    async with shop(FileRules(link_for_s=60), clock=clock) as here:
        url = (await here.upload()).json()["url"]
        other = (await here.upload()).json()
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        swapped = parts.path.replace(parts.path.split("/")[2], other["id"])
        later = parts.query.replace(query["expires"][0], str(int(query["expires"][0]) + 1))
        for forged in (
            parts.path,
            f"{parts.path}?expires={query['expires'][0]}",
            f"{parts.path}?{later}",
            f"{parts.path}?{parts.query}x",
            f"{swapped}?{parts.query}",
            f"/files/{other['id'][:-1]}/photo.png?{parts.query}",
            f"{parts.path}?expires=9999999999&signature=",
            f"{parts.path}?{parts.query.replace('signature=', 'signature=%C3%A9')}",
        ):
            assert refusal(await here.http.get(forged)) == (403, "LinkRefused"), forged
        assert (await here.http.get(url)).status_code == 200
        clock.now += 60
        assert refusal(await here.http.get(url)) == (403, "LinkRefused")


async def test_no_path_leads_out() -> None:
    async with shop() as here:
        for path in (
            "/files/..%2f..%2fetc%2fpasswd/x",
            "/files/../secret.key",
            "/files/%2e%2e/x",
            "/files/",
            "/files/a",
        ):
            assert (await here.http.get(path)).status_code in {403, 404}


# ---- in a conversation ----


async def test_the_welcome_says_what_may_be_chosen() -> None:
    async with shop(FileRules(kinds=["png", "jpg"], max_bytes=1_000)) as here, chat(here.address) as client:
        offered = {"max_bytes": 1_000, "accept": [".png", ".jpg", ".jpeg", ".jpe", ".jfif"]}
        assert client.welcome["uploads"] == offered
    async with shop(FileRules(kinds=[])) as here, chat(here.address) as client:
        assert "files" not in client.welcome


async def attach(here: Shop, token: str, *names: str, content: bytes = png()) -> list[dict[str, Any]]:
    return [(await here.upload(content, name, visitor=token)).json() for name in names]


def shown(frame: Frame) -> list[tuple[str, str]]:
    return [(part["type"], part.get("text") or part.get("alt") or part.get("name")) for part in frame["parts"]]


async def test_a_message_with_files_reaches_the_bot_and_is_shown() -> None:
    async with shop() as here, chat(here.address) as client:
        token = client.welcome["visitor"]
        files = [*await attach(here, token, "chair.png"), *await attach(here, token, "bill.pdf", content=PDF)]
        ids = [file["id"] for file in files]
        await client.send("send", client_msg_id="with-files", text="It came broken.", attachments=ids)
        echo, answer = await client.messages(2)
        assert said(answer) == "I read It came broken."
        assert shown(echo) == [("text", "It came broken."), ("image", "chair.png"), ("file", "bill.pdf")]
        assert echo["parts"][2]["media_type"] == "application/pdf"
        for part in echo["parts"][1:]:
            assert (await here.http.get(part["url"])).status_code == 200
    (message,) = here.bot.received
    attached = message.metadata["attachments"]
    assert [{**entry, "url": ""} for entry in attached] == [{**file, "url": ""} for file in files]
    assert all(entry["url"].startswith(f"/files/{entry['id']}/") for entry in attached)


async def test_files_without_words_are_read_by_their_names_and_shown_alone() -> None:
    async with shop() as here, chat(here.address) as client:
        ids = [file["id"] for file in await attach(here, client.welcome["visitor"], "chair.png", "leg.png")]
        for number, text in enumerate([None, "", "  "]):
            await client.send("send", client_msg_id=f"only-files-{number}", text=text, attachments=ids)
            (echo, _) = await client.messages(2)
            assert shown(echo) == [("image", "chair.png"), ("image", "leg.png")]
    assert [message.text for message in here.bot.received] == ["chair.png, leg.png"] * 3


async def test_the_assistant_chooses_what_is_read_of_files_without_words() -> None:
    async with shop(FileRules(text="/inform_file")) as here, chat(here.address) as client:
        ids = [file["id"] for file in await attach(here, client.welcome["visitor"], "chair.png")]
        await client.send("send", client_msg_id="only-files", attachments=ids)
        await client.messages(2)
    assert here.bot.received[0].text == "/inform_file"


async def test_another_visitor_s_file_cannot_be_named() -> None:
    async with shop() as here, chat(here.address) as ann, chat(here.address) as eve:
        (file,) = await attach(here, ann.welcome["visitor"], "private.png")
        for ids in ([file["id"]], ["x" * 22], ["../secret.key"]):
            await eve.send("send", client_msg_id="stolen-file", text="mine", attachments=ids)
            error = await eve.expect("error")
            assert (error["code"], error["client_msg_id"]) == ("refused", "stolen-file")
    assert here.bot.received == []


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "x", "attachments": ["a"] * 6},
        {"text": "x", "attachments": "a"},
        {"text": "x", "attachments": [7]},
        {"text": "x", "attachments": ["a" * 65]},
        {"payload": "/x", "attachments": ["a"]},
        {"attachments": []},
        {"text": "", "attachments": []},
    ],
)
async def test_attachments_that_are_none_are_a_bad_frame(fields: dict[str, Any]) -> None:
    async with shop() as here, chat(here.address) as client:
        await client.send("send", client_msg_id="any-message", **fields)
        error = await client.expect("error")
    assert (error["code"], error["client_msg_id"]) == ("bad_frame", "any-message")


async def test_the_same_message_again_is_one_message_with_its_files() -> None:
    async with shop() as here, chat(here.address) as client:
        ids = [file["id"] for file in await attach(here, client.welcome["visitor"], "chair.png")]
        for _ in range(2):
            await client.send("send", client_msg_id="sent-twice", attachments=[*ids, *ids])
            assert (await client.expect("ack"))["seq"] == 1
    (message,) = here.bot.received
    assert len(message.metadata["attachments"]) == 1


async def test_links_are_fresh_whenever_the_conversation_is_read_and_a_deleted_file_is_a_name() -> None:
    clock = Clock()
    async with shop(FileRules(link_for_s=60), clock=clock) as here:
        async with chat(here.address) as client:
            token = client.welcome["visitor"]
            files = await attach(here, token, "chair.png", "leg.png")
            ids = [file["id"] for file in files]
            await client.send("send", client_msg_id="with-files", text="look", attachments=ids)
            await client.messages(2)
        clock.now += 3_600
        assert (await here.http.get(files[0]["url"])).status_code == 403
        assert isinstance(here.ports.files, MemoryFiles)
        here.ports.files.remove(ids[1])
        async with chat(here.address, visitor=token) as client:
            echo, _ = await client.messages(2)
        assert shown(echo) == [("text", "look"), ("image", "chair.png"), ("text", "leg.png")]
        assert (await here.http.get(echo["parts"][1]["url"])).status_code == 200


async def test_what_the_bot_shows_of_a_customer_s_file_has_a_fresh_link_too_and_only_theirs() -> None:
    async with shop() as here, chat(here.address) as ann, chat(here.address) as eve:
        (file,) = await attach(here, ann.welcome["visitor"], "chair.png")
        here.bot.image = f"/files/{file['id']}/chair.png?expires=1&signature=old"
        for client in (ann, eve):
            await client.send("send", client_msg_id="any-message", text="x")
            (_, answer) = await client.messages(2)
            assert shown(answer)[0] == ("text", "I read x")
            urls = [part["url"] for part in answer["parts"][1:]]
            assert [(await here.http.get(url)).status_code for url in urls] == ([200] if client is ann else [])


async def test_without_a_file_store_there_is_nothing_to_upload_to() -> None:
    ports = MemoryPorts(Bot())
    ports.files = None  # type: ignore[assignment]
    async with serving(Starlette(routes=WebChat(dict, SECRET).routes(ports))) as address, chat(address) as client:
        async with httpx.AsyncClient() as http:
            assert (await http.post(f"http://{address}/webchat/upload")).status_code == 404
        await client.send("send", client_msg_id="any-message", text="x", attachments=["a"])
        assert (await client.expect("error"))["code"] == "refused"


# ---- the whole platform ----


async def platform_upload(lab: Lab, visitor: str, content: bytes = png(), name: str = "chair.png") -> httpx.Response:
    headers = {"X-Kefu-Visitor": visitor_token(visitor, lab.platform.settings.secret())}
    return await lab.http.post("/webchat/upload", files={"file": (name, content)}, headers=headers)


@pytest.mark.parametrize("where", ["folder", "memory"])
async def test_a_real_platform_keeps_files_where_the_settings_say(where: str, tmp_path: Path) -> None:
    url = None if where == "folder" else f"memory:/{tmp_path}/bucket"
    async with running(tmp_path / "home", files_max_mb=0.01, files_types="png,pdf", files_url=url) as lab:
        visitor = new_visitor_id()
        answer = await platform_upload(lab, visitor)
        assert answer.status_code == 200, answer.text
        assert (await lab.http.get(answer.json()["url"])).content == png()
        assert (await platform_upload(lab, visitor, b"text", "a.txt")).status_code == 415
        assert (await platform_upload(lab, visitor, png(12_000))).status_code == 413
        on_disk = [path for path in (tmp_path / "home" / "files").rglob("*") if path.is_file()]
        assert len(on_disk) == (1 if where == "folder" else 0)


async def test_no_answer_of_ours_is_guessed_at_by_a_browser(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        paths = ["/", "/healthz", "/metrics", "/demo/", "/widget/kefu.js", "/webchat/brand", "/status", "/nothing"]
        for path in paths:
            answer = await lab.http.get(path)
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"], path


async def test_the_worker_s_housekeeping_deletes_what_is_too_old(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        url = (await platform_upload(lab, new_visitor_id())).json()["url"]
        assert (await lab.http.get(url)).status_code == 200
    async with running(tmp_path, files_keep_days=1e-9) as lab:
        async with asyncio.timeout(10):
            while (answer := await lab.http.get(url)).status_code == 200:
                await asyncio.sleep(0.02)
    assert refusal(answer) == (404, "NoSuchFile")
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_the_bot_s_events_carry_the_attachments(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, serving(lab.app) as address:
        visitor = new_visitor_id()
        token = visitor_token(visitor, lab.platform.settings.secret())
        file = (await platform_upload(lab, visitor)).json()
        async with chat(address, visitor=token) as client:
            await client.send("send", client_msg_id="with-files", attachments=[file["id"]])
            (echo, _) = await client.messages(2)
        assert shown(echo) == [("image", "chair.png")]
        state = await lab.tracker(f"web:{visitor}")
    (said_,) = [event for event in state["events"] if event["event"] == "user"]
    assert said_["text"] == "chair.png"
    assert [entry["id"] for entry in said_["metadata"]["attachments"]] == [file["id"]]
    json.dumps(state)
