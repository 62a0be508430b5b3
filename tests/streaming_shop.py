"""A shop whose answers a server writes, said while they are written: its bot, and the platform as a process of its own
(`python -m tests.streaming_shop FOLDER WRITER_URL PORT`), so that it can be killed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import uvicorn

from bot.answers.guard import Guard
from bot.answers.index_files import sync
from bot.answers.service import Knowledge
from bot.answers.writer import Writer
from bot.answers.writers import CurrentWriter, Writers
from bot.app import Platform, actions_of, build_app
from bot.settings import load_settings
from bot.turns import Bot
from models.generation import ServedGenerator
from tests.answering import FILES, SURE
from tests.bag_of_words import BagOfWords
from tests.dialogue import assistant_of
from tests.generators import Judge
from tests.lab import Read, Reader
from tests.server import Server

CONFIG = "answers: {intent: ask_knowledge}\ngeneration: {server: 'URL', model: slow, stream: true}\n"
QUESTION = "how do I wash wool blankets"
TOLD = {
    QUESTION: Read(intent="out_of_scope"),
    "my order": Read(intent="order"),
    "A-17": Read(intent="inform"),
}
QUOTED = "Wash wool blankets by hand in cold water. Use little soap. Dry them flat.\n(From our help page “Care”)"
MARK = "(Written by our assistant from the help page “Care”)"


@dataclass(frozen=True, kw_only=True)
class ServedWriters(Writers):
    """The writer at `url`; its judge finds all supported, so that the guard stops what it finds invented."""

    url: str
    deadline_s: float

    def wanted(self) -> str:
        return "slow"

    def make(self) -> Writer:
        generator = ServedGenerator(self.url, "slow", is_here=True)
        guard = Guard(Judge(), {"other": 0.0, "han": 0.0})  # type: ignore[arg-type]
        return Writer(generator, guard, self.brand, ("en",), deadline_s=self.deadline_s, is_elsewhere=True)


def shop_bot(folder: Path, url: str, *, streams: bool = True, deadline_s: float = 60.0) -> Bot:
    assistant = assistant_of(folder / "assistant", {**FILES, "kefu.yml": CONFIG.replace("URL", url)})
    generation = replace(assistant.config.generation, stream=streams)
    assistant = replace(assistant, config=replace(assistant.config, generation=generation))
    documents = assistant.root / "knowledge" / "en"
    documents.mkdir(parents=True, exist_ok=True)
    text = QUOTED.partition("\n")[0]
    (documents / "wool.md").write_text(f"# Care\n\n## Wool\n{text}", encoding="utf-8")
    sync(assistant.root / "knowledge", folder / "store", BagOfWords(), lambda index: {"other": SURE})
    writers = ServedWriters(
        store=folder / "store", config=generation, brand=assistant.brand, url=url, deadline_s=deadline_s
    )
    today = date(2026, 11, 30)
    knowledge = Knowledge(
        folder / "store", assistant.brand, embedder=BagOfWords(), today=lambda: today, writing=CurrentWriter(writers)
    )
    return replace(Bot.of(assistant, actions_of(assistant)), knowledge=knowledge)


@dataclass
class ShopServer(Server):
    """The shop in a process of its own. `home` is its folder."""

    writer_url: str = ""

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "tests.streaming_shop", str(self.home), self.writer_url, str(self.port)]


def serve(folder: Path, url: str, port: int) -> None:
    bot = shop_bot(folder, url)
    platform = Platform.build(load_settings(home=folder / "home"), bot, understander=Reader(TOLD))
    uvicorn.run(build_app(platform), port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
