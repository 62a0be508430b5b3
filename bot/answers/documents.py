"""A company's documents → passages that can be found and quoted: Markdown, HTML, CSV, PDF and Word under `knowledge/`.

Each format becomes blocks first (headings and paragraphs), and blocks become passages in one place.

Invariants: a passage's id depends on its document's path and its own words alone, so that an unchanged passage is
never embedded again; what cannot be read is a problem with the file's name, and the other files are read all the same;
no passage holds what a reader does not see, or instructions to whoever answers from it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bot.answers.hidden import left_out, shown_in, take_out_hidden, without_invisible
from bot.safety.screening import instructions_in
from connectors.base import storable_text
from models.languages import identify_language

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

DOCUMENTS = "knowledge"
"""An assistant's folder of them."""
MAX_PASSAGE_CHARS = 900
"""Longer sections are divided between paragraphs: about what the embedding model reads, and what a person does."""
SHORT_CHARS = 60
LANGUAGES = frozenset(
    """ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nb nl no pl pt ro ru sk sl sr sv sw ta
    th tl tr uk ur vi zh""".split()  # noqa: SIM905  a list of words, not of literals
)
"""What a folder's name may mean; `faq` or `hr-team` is none of them."""
RESPONSE = "response:"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What is found and quoted.

    Attributes:
        source: the document's path under `knowledge/`, with "/".
        anchor: of the section, as Markdown renderers make it: `returns.md#how-long`.
        url: where customers can read the document, if it says so.
        valid_from, valid_until: the days between which it is true, both included; None: no bound.
    """

    id: str
    source: str
    title: str
    heading: str
    anchor: str
    text: str
    language: str
    url: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None

    @property
    def response(self) -> str | None:
        """The intent whose response these words are; None: a document's. See `of_response`."""
        return self.source.removeprefix(RESPONSE) if self.source.startswith(RESPONSE) else None

    @property
    def indexed(self) -> str:
        """What search reads: the words above a text say what it is about."""
        return " ".join(dict.fromkeys(part for part in (self.title, self.heading, self.text) if part))

    def is_valid(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )


@dataclass(frozen=True, kw_only=True)
class DocumentProblem:
    """Why a file, a section or a line of its front matter was left out."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A heading (`level` 1–6) or a paragraph (`level` 0)."""

    text: str
    level: int = 0


@dataclass(kw_only=True)
class _Document:
    """`notices`: what is worth telling about what was not taken over."""

    blocks: list[Block]
    about: Mapping[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class _Unreadable(Exception):
    pass


def read_passages(folder: Path) -> tuple[list[Passage], list[DocumentProblem]]:
    """Every passage of the documents in `folder`, in the order of their paths, and what was wrong."""
    passages: list[Passage] = []
    problems: list[DocumentProblem] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder)):
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            kinds = ", ".join(READERS)
            problems.append(DocumentProblem(path=path, message=f"not a kind of file that is read ({kinds}); left out"))
            continue
        try:
            found, notices = _passages(path.relative_to(folder).as_posix(), reader(path.read_bytes()))
        except _Unreadable as error:
            problems.append(DocumentProblem(path=path, message=f"{error}; left out"))
            continue
        except Exception as error:  # noqa: BLE001  one strange file, in a dozen ways, must not cost the others
            problems.append(DocumentProblem(path=path, message=f"it cannot be read ({error!r:.200}); left out"))
            continue
        if not found and not notices:
            notices = ["no text was found in it"]
        problems += [DocumentProblem(path=path, message=notice) for notice in notices]
        passages += found
    return passages, problems


def of_response(intent: str, text: str, language: str) -> Passage:
    """What the assistant says to an intent anyway, as a passage: where it answers best, no document needs to."""
    name = hashlib.sha256(f"{RESPONSE}{intent}\n{text}".encode()).hexdigest()[:16]
    return Passage(id=name, source=f"{RESPONSE}{intent}", title="", heading="", anchor="", text=text, language=language)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "~")) for part in path.relative_to(folder).parts)


# ---- blocks → passages ----


def _passages(source: str, document: _Document) -> tuple[list[Passage], list[str]]:
    """Its passages, and what is worth telling about what is none."""
    about, notices = document.about, [*document.notices]
    written = [Block(text=storable_text(block.text), level=block.level) for block in document.blocks]
    blocks = [Block(text=without_invisible(block.text), level=block.level) for block in written]
    if blocks != written:
        notices.append("invisible characters are left out")
    document = _Document(blocks=blocks, about=about)
    first = next((block.text for block in document.blocks if block.level), "")
    title = storable_text(str(about.get("title") or first or Path(source).stem.replace("-", " ").replace("_", " ")))
    bounds = {name: _day(about.get(name), name) for name in ("valid_from", "valid_until")}
    url = str(about["url"]) if about.get("url") else None
    language = _language_of(source, document)
    anchors: set[str] = set()
    passages: dict[str, Passage] = {}
    for heading, text in _sections(document.blocks, title):
        anchor, parts = _anchor(heading, anchors), [*_parts(text)]
        if why := next(filter(None, map(instructions_in, (title, heading, *parts))), None):
            notices.append(f"the section “{heading or title}” {why}; left out")
            continue
        for part in parts:
            name = hashlib.sha256(f"{source}\n{title}\n{heading}\n{part}".encode()).hexdigest()[:16]
            passages[name] = Passage(
                id=name, source=source, title=title, heading=heading, anchor=anchor, text=part, language=language,
                url=url, **bounds,
            )  # fmt: skip
    return [*passages.values()], notices


def _day(value: object, name: str) -> date | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError as error:
        raise _Unreadable(f"{name}: {value!r} is not a day as 2026-12-24") from error


def _language_of(source: str, document: _Document) -> str:
    """The folder's name where it is a language (`knowledge/zh/…`), else the document's own word, else what the words
    are."""
    for said in (source.partition("/")[0], str(document.about.get("language") or "")):
        if (primary := said.replace("_", "-").partition("-")[0].lower()) in LANGUAGES:
            return primary
    return identify_language(" ".join(block.text for block in document.blocks)[:2_000])


def _sections(blocks: Iterable[Block], title: str) -> Iterator[tuple[str, str]]:
    """Heading and text of each section; headings without a text of their own stand before those below them."""
    path: list[tuple[int, str]] = []
    text: list[str] = []

    def heading() -> str:
        return " › ".join(words for _, words in path if words != title)

    for block in blocks:
        if not block.level:
            text.append(block.text)
            continue
        if text:
            yield heading(), "\n\n".join(text)
            text = []
        path = [(level, words) for level, words in path if level < block.level]
        path.append((block.level, block.text))
    if text:
        yield heading(), "\n\n".join(text)


def _parts(text: str) -> Iterator[str]:
    """A section in pieces of about MAX_PASSAGE_CHARS, cut between paragraphs, else sentences; a short rest stays with
    what it followed."""
    parts = [""]
    for piece in _pieces(text):
        if parts[-1].strip() and len(parts[-1]) + len(piece) > MAX_PASSAGE_CHARS:
            parts.append("")
        parts[-1] += piece
    if len(parts) > 1 and len(parts[-1].strip()) < SHORT_CHARS:
        rest = parts.pop()
        parts[-1] += rest
    yield from (part.strip() for part in parts if part.strip())


def _pieces(text: str) -> Iterator[str]:
    for paragraph in re.split(r"(?<=\n)\n+", text + "\n\n"):
        if len(paragraph) <= MAX_PASSAGE_CHARS:
            yield paragraph + "\n" if paragraph.strip() else ""
            continue
        for sentence in sentences(paragraph):
            for start in range(0, len(sentence), MAX_PASSAGE_CHARS):
                yield sentence[start : start + MAX_PASSAGE_CHARS] + " "


_END = re.compile(
    r"(?<=[。！？；])|(?<=[.!?])(?<!\b[A-Za-z]\.)(?<!e\.g\.)(?<!i\.e\.)(?<!approx\.)(?<!No\.)\s+(?=[^a-z])|\n+"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text in either language; a line of a list is one."""
    return [found for part in _END.split(text) if part and (found := part.strip())]


def _anchor(heading: str, taken: set[str]) -> str:
    last = heading.rsplit(" › ", 1)[-1].casefold()
    plain = re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFKC", last)).strip().replace(" ", "-")
    anchor, number = plain, 1
    while anchor and anchor in taken:
        anchor, number = f"{plain}-{number}", number + 1
    taken.add(anchor)
    return anchor


# ---- formats → blocks ----

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


def _decoded(raw: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _Unreadable("its letters are neither UTF-8 nor GB 18030")


def _markdown(raw: bytes) -> _Document:
    from markdown_it import MarkdownIt

    text = _decoded(raw)
    about: Mapping[str, Any] = {}
    if found := _FRONT_MATTER.match(text):
        try:
            loaded = YAML(typ="safe", pure=True).load(found[1])
        except YAMLError as error:
            raise _Unreadable(f"its front matter is not YAML ({str(error).splitlines()[0]})") from error
        about = loaded if isinstance(loaded, dict) else {}
        text = text[found.end() :]
    html = MarkdownIt("commonmark").enable("table").render(text)
    return _page(html, about)


def _html(raw: bytes) -> _Document:
    from bs4 import BeautifulSoup, Tag

    page = BeautifulSoup(_decoded(raw), "html.parser")
    about: dict[str, Any] = {}
    if page.title and page.title.string:
        about["title"] = page.title.string.strip()
    if isinstance(root := page.html, Tag) and root.get("lang"):
        about["language"] = str(root["lang"]).partition("-")[0].lower()
    if isinstance(link := page.find("link", rel="canonical"), Tag) and link.get("href"):
        about["url"] = str(link["href"])
    notices = take_out_hidden(page)  # before the main part is chosen: what hides it may stand around it
    document = _page(str(page.find("main") or page.body or page), about)
    return replace(document, notices=[*notices, *document.notices])


_LEFT_OUT = ("script", "style", "nav", "header", "footer", "aside", "form", "noscript", "template", "svg")
_BLOCKS = ("h1", "h2", "h3", "h4", "h5", "h6", "p", "li", "tr", "pre", "blockquote", "dt", "dd", "div", "section")


def _page(html: str, about: Mapping[str, Any]) -> _Document:
    """What is seen of a page."""
    from bs4 import BeautifulSoup

    page = BeautifulSoup(html, "html.parser")
    for unwanted in page(_LEFT_OUT):
        unwanted.decompose()
    notices = take_out_hidden(page)
    return _Document(blocks=_html_blocks(page), about=about, notices=notices)


def _html_blocks(page: BeautifulSoup) -> list[Block]:
    """Innermost blocks in order; a list's items stay together, a table's row is one line."""
    from bs4 import Tag
    from bs4.element import NavigableString

    blocks: list[Block] = []
    lines: list[str] = []

    def end_list() -> None:
        if lines:
            blocks.append(Block(text="\n".join(lines)))
            lines.clear()

    def walk(tag: Tag) -> None:
        if tag.name == "tr":
            cells = [" ".join(cell.get_text(" ").split()) for cell in tag.find_all(["td", "th"])]
            lines.append(" | ".join(cells))
            return
        if any(isinstance(child, Tag) and (child.name in _BLOCKS or child.find(_BLOCKS)) for child in tag.children):
            loose = ""
            for child in tag.children:
                if isinstance(child, Tag) and (child.name in _BLOCKS or child.find(_BLOCKS)):
                    add(tag.name, loose)
                    loose = ""
                    walk(child)
                elif isinstance(child, Tag | NavigableString):
                    loose += child.get_text()
            add(tag.name, loose)
            if tag.name in ("ul", "ol", "table", "dl"):
                end_list()
        else:
            add(tag.name, tag.get_text())

    def add(kind: str, words: str) -> None:
        text = " ".join(words.split())
        if not text:
            return
        if kind == "li":
            lines.append(f"• {text}")
            return
        end_list()
        blocks.append(Block(text=text, level=int(kind[1]) if re.fullmatch(r"h[1-6]", kind) else 0))

    walk(page)
    end_list()
    return blocks


_QUESTIONS = ("question", "q", "title", "问题", "问", "标题")
_ANSWERS = ("answer", "a", "text", "回答", "答案", "答", "内容")


def _csv(raw: bytes) -> _Document:
    """A list of questions with their answers; the first line names the columns."""
    text = _decoded(raw)
    dialect: type[csv.Dialect] = csv.excel
    with suppress(csv.Error):
        dialect = csv.Sniffer().sniff(text[:4_000], delimiters=",;\t")
    rows = csv.DictReader(io.StringIO(text), dialect=dialect)
    names = {(name or "").strip().casefold(): name for name in rows.fieldnames or ()}
    question = next((names[name] for name in _QUESTIONS if name in names), None)
    answer = next((names[name] for name in _ANSWERS if name in names), None)
    if question is None or answer is None:
        raise _Unreadable("its first line names no columns `question` and `answer` (问题, 回答)")
    blocks: list[Block] = []
    for row in rows:
        asked, answered = ((row.get(name) or "").strip() for name in (question, answer))
        if asked and answered:
            blocks += [Block(text=asked, level=2), Block(text=answered)]
    # No title of its own: the questions are the headings, and the first must not name the whole list.
    return _Document(blocks=[Block(text="FAQ", level=1), *blocks])


def _pdf(raw: bytes) -> _Document:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(raw))
        pages = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except (PyPdfError, ValueError, KeyError, OSError) as error:
        raise _Unreadable(f"it is not a PDF that can be read ({error})") from error
    if not any(page.strip() for page in pages):
        raise _Unreadable("it holds pictures of pages and no text; read it by OCR first")
    blocks = [Block(text=_unbroken(part)) for page in pages for part in re.split(r"\n\s*\n", page) if part.strip()]
    return _Document(blocks=blocks, about={"title": title} if title else {})


def _unbroken(text: str) -> str:
    """A paragraph whose lines were broken for the paper; Chinese goes on without a blank."""
    joined = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text.strip())
    joined = re.sub(r"(?<=[\u3000-\u9fff，。；：])\n(?=[\u3000-\u9fff])", "", joined)
    return re.sub(r"\s*\n\s*", " ", joined)


def _docx(raw: bytes) -> _Document:
    from zipfile import BadZipFile

    from docx import Document
    from docx.opc.exceptions import PackageNotFoundError
    from docx.table import Table

    try:
        document = Document(io.BytesIO(raw))
    except (PackageNotFoundError, BadZipFile, KeyError, ValueError) as error:
        raise _Unreadable(f"it is not a Word document that can be read ({error})") from error
    blocks: list[Block] = []
    notices: list[str] = []
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            # A merged cell stands there once for each column that it covers.
            cells = [{id(cell._tc): cell.text.strip() for cell in row.cells}.values() for row in item.rows]
            rows = [" | ".join(texts) for texts in cells]
            blocks.append(Block(text="\n".join(row for row in rows if row.strip(" |"))))
            continue
        shown, unseen = shown_in(item)
        if unseen:
            notices.append(left_out(unseen))
        if shown:
            style = (item.style.name if item.style is not None else "") or ""
            heading = re.fullmatch(r"(?:Heading|标题) ([1-6])", style)
            level = 1 if style == "Title" else int(heading[1]) if heading else 0
            blocks.append(Block(text=shown, level=level))
    return _Document(blocks=blocks, notices=notices)


def _text(raw: bytes) -> _Document:
    return _Document(blocks=[Block(text=part.strip()) for part in re.split(r"\n\s*\n", _decoded(raw)) if part.strip()])


READERS: Mapping[str, Callable[[bytes], _Document]] = {
    ".md": _markdown,
    ".html": _html,
    ".htm": _html,
    ".csv": _csv,
    ".pdf": _pdf,
    ".docx": _docx,
    ".txt": _text,
}
