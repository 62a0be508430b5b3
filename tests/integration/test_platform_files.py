"""Files that customers sent over Slack and WeChat: fetched before the turn, kept as the web chat's are, and when they
cannot be had, said so, while the words beside them are answered."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

import connectors.wechat_media
from connectors.fetching import FetchPolicy
from connectors.files import FileRules
from tests import slack_people as workspace
from tests.integration.test_slack import Shop, shop
from tests.integration.test_wechat import shop as account_shop
from tests.integration.test_wechat_kf import KF_SENDER
from tests.integration.test_wechat_kf import shop as kf_shop
from tests.lab import Lab
from tests.sample_files import JPEG, PDF, PROGRAM
from tests.serving import serving
from tests.slack_server import BOT_TOKEN, FakeSlack
from tests.wechat_side import CUSTOMER, message_xml

pytestmark = pytest.mark.both_databases

DIRECT = "slack:T0SHOP/D0ANNA"
ACCOUNT_SENDER = f"wechat:{CUSTOMER}"


def posted(slack: FakeSlack, name: str = "bill.pdf", **changes: Any) -> dict[str, Any]:
    """A file as Slack's event tells of it."""
    url = f"http://{slack.address}/files-pri/{name}"
    return {"id": "F0BILL", "name": name, "mimetype": "application/pdf", "size": 12, "url_private": url} | changes


async def ask(it: Shop, *files: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Post the files beside a question, see it answered; the attachments as the bot's actions see them."""
    before = len(it.slack.posts)
    await it.people.event(workspace.event(workspace.direct("/ask_hours", subtype="file_share", files=files)))
    assert [post.text for post in await it.slack.said(before + 1)][before:] == ["we are open 9-5"]
    return await attachments(it.lab, DIRECT)


async def attachments(lab: Lab, sender: str) -> list[dict[str, Any]]:
    events = (await lab.tracker(sender))["events"]
    found: list[dict[str, Any]] = [event for event in events if event["event"] == "user"][-1]["metadata"]["attachments"]
    return found


async def opened(lab: Lab, url: str) -> bytes:
    answer = await lab.http.get(url)
    assert answer.status_code == 200
    return answer.content


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[str]]]:
    """A server that is not Slack's, and the tokens it was shown."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"]).get(b"authorization", b"").decode())
            await Response(PDF)(scope, receive, send)

    async with serving(app) as address:
        yield address.replace("127.0.0.1", "localhost"), seen


# ---- Slack ----


async def test_a_file_in_slack_is_kept_and_opens_by_a_link_of_ours(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.files["bill.pdf"] = Response(PDF, media_type="application/pdf")
        file = posted(it.slack)
        [kept] = await ask(it, file)
        assert (kept["name"], kept["media_type"], kept["size"]) == ("bill.pdf", "application/pdf", len(PDF))
        assert await opened(it.lab, kept["url"]) == PDF
        assert kept["source"]["id"] == "F0BILL"
        assert kept["id"] != "F0BILL"
        assert it.slack.file_tokens == [BOT_TOKEN]
        files = it.lab.platform.ports.files
        assert files is not None
        assert await files.find(DIRECT, [kept["id"]])
        assert await files.find("slack:T0SHOP/D0BERT", [kept["id"]]) == {}


async def test_a_file_of_another_organisation_is_looked_up_first(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.files["bill.pdf"] = Response(PDF)
        it.slack.answers["files.info"] = lambda fields: {"ok": True, "file": posted(it.slack, id=fields["file"])}
        [kept] = await ask(it, {"id": "F0BILL", "file_access": "check_file_info"})
        assert await opened(it.lab, kept["url"]) == PDF
        assert [call["file"] for call in it.slack.calls_of("files.info")] == ["F0BILL"]


async def test_what_fails_once_is_fetched_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.fail("files", Response(status_code=503), Response(status_code=500))
        it.slack.files["bill.pdf"] = Response(PDF)
        [kept] = await ask(it, posted(it.slack))
        assert await opened(it.lab, kept["url"]) == PDF


async def test_a_file_that_cannot_be_had_says_why_and_costs_no_answer(tmp_path: Path) -> None:
    async with shop(tmp_path) as it, elsewhere() as (other, seen):
        it.slack.files |= {
            "program.pdf": Response(PROGRAM),
            "down.pdf": Response(status_code=500),
            "endless.pdf": Response(b"%PDF-1.4" + b"0" * FileRules().max_bytes),
            "led.pdf": RedirectResponse(f"http://{other}/file"),
        }
        found = await ask(
            it,
            posted(it.slack, "program.pdf"),
            posted(it.slack, "endless.pdf"),
            posted(it.slack, "said.pdf", size=FileRules().max_bytes + 1),
            posted(it.slack, "missing.pdf"),
            posted(it.slack, "down.pdf"),
            posted(it.slack, "drive.pdf", url_private=f"http://{other}/file"),
            posted(it.slack, "led.pdf"),
        )
        errors = {entry["name"]: entry["error"] for entry in found}
        assert errors == {
            "program.pdf": "unwanted_kind",
            "endless.pdf": "too_large",
            "said.pdf": "too_large",
            "missing.pdf": "refused",
            "down.pdf": "unavailable",
            "drive.pdf": "refused",
            "led.pdf": "refused",
        }
        assert seen == [], "neither a file nor a redirect takes the token to another server"


async def test_without_the_scope_the_page_to_sign_in_is_not_taken_for_the_file(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.files["bill.txt"] = Response("<html>sign in</html>", media_type="text/html")
        [entry] = await ask(it, posted(it.slack, "bill.txt", mimetype="text/plain"))
        assert entry["error"] == "refused"


async def test_a_turn_that_runs_again_fetches_nothing_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.files["bill.pdf"] = Response(PDF)
        worker, failures = it.lab.platform.worker, 1
        read = worker._understander.understand

        async def fails_once(texts: Any) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise RuntimeError("the model stumbled")
            return await read(texts)

        worker._understander.understand = fails_once  # type: ignore[method-assign]
        await it.people.event(
            workspace.event(workspace.direct("hello", subtype="file_share", files=[posted(it.slack)]))
        )
        await it.slack.said(1)
        assert failures == 0
        assert len(it.slack.file_tokens) == 1
        [kept] = await attachments(it.lab, DIRECT)
        assert await opened(it.lab, kept["url"]) == PDF


# ---- WeChat ----


def media(content: bytes, name: str) -> Response:
    return Response(content, headers={"Content-Disposition": f'attachment; filename="{name}"'})


async def test_what_wechat_holds_is_fetched_with_the_account_s_token_renewed_if_need_be(tmp_path: Path) -> None:
    async with account_shop(tmp_path) as it:
        it.wechat.media["m1"] = media(JPEG, "m1.jpg")
        for number, spoil in enumerate((False, True), start=1):
            if spoil:
                it.wechat.invalidate()
            picture = {"MsgType": "image", "PicUrl": "http://127.0.0.1:1/p", "MediaId": "m1"}
            await it.account.deliver(message_xml("", number, **picture))
            await it.settled()
            [kept] = await attachments(it.lab, ACCOUNT_SENDER)
            assert (kept["media_type"], kept["source"]["media_id"]) == ("image/jpeg", "m1")
            assert await opened(it.lab, kept["url"]) == JPEG


async def test_an_account_without_credentials_gets_pictures_but_not_from_inside_our_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with account_shop(tmp_path, app_secret="", customer_messages=False) as it:
        it.wechat.pictures["p.jpg"] = JPEG
        picture = {"MsgType": "image", "PicUrl": f"{it.wechat.url}/mmbiz/p.jpg", "MediaId": "m1"}
        await it.account.deliver(message_xml("", 1, **picture))
        await it.settled()
        [refused] = await attachments(it.lab, ACCOUNT_SENDER)
        assert refused["error"] == "refused"
        anywhere = functools.partial(FetchPolicy, allows=lambda _: True)
        monkeypatch.setattr(connectors.wechat_media, "FetchPolicy", anywhere)
        await it.account.deliver(message_xml("", 2, **picture))
        await it.settled()
        [kept] = await attachments(it.lab, ACCOUNT_SENDER)
        assert await opened(it.lab, kept["url"]) == JPEG


async def test_a_place_is_no_file_and_what_wechat_refuses_says_so(tmp_path: Path) -> None:
    async with account_shop(tmp_path) as it:
        place = {"MsgType": "location", "Location_X": "31.2", "Location_Y": "121.4", "Label": "上海", "Scale": "16"}
        await it.account.deliver(message_xml("", 1, **place))
        await it.settled()
        [entry] = await attachments(it.lab, ACCOUNT_SENDER)
        assert (entry["label"], entry.get("error"), entry.get("source")) == ("上海", None, None)
        await it.account.deliver(message_xml("", 2, MsgType="voice", MediaId="gone", Format="amr"))
        await it.settled()
        [entry] = await attachments(it.lab, ACCOUNT_SENDER)
        assert entry["error"] == "refused"


async def test_a_file_in_kf_is_kept_under_its_own_name(tmp_path: Path) -> None:
    async with kf_shop(tmp_path, texts={"file": "hello"}) as it:
        it.server.media["m1"] = media(PDF, "bill.pdf")
        it.server.write("", msgtype="file", file={"media_id": "m1"})
        await it.caller.call()
        await it.server.has_sent(1)
        [kept] = await attachments(it.lab, KF_SENDER)
        assert kept["name"] == "bill.pdf"
        assert await opened(it.lab, kept["url"]) == PDF


async def test_an_answer_that_is_no_file_is_unavailable(tmp_path: Path) -> None:
    async with kf_shop(tmp_path, texts={"file": "hello"}) as it:
        it.server.media["m1"] = JSONResponse({"errcode": 0})
        it.server.write("", msgtype="file", file={"media_id": "m1"})
        await it.caller.call()
        await it.server.has_sent(1)
        [entry] = await attachments(it.lab, KF_SENDER)
        assert entry["error"] == "unavailable"
