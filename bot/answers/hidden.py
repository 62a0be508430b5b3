"""What a document holds that nobody sees who reads it: elements of a page, runs of a Word file, invisible characters.

Hidden text is never a passage: it is not what the company says to its customers. Not found: what a style sheet hides,
white text in a PDF or in a table of a Word file; if it is instructions, the section is left out all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bot.safety.screening import instructions_in

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from docx.text.paragraph import Paragraph
    from docx.text.run import Run

SHOWN_CHARS = 60
_INVISIBLE = re.compile(r"[\u200b\u2060-\u2064\ufeff\u202d\u202e\U000e0000-\U000e007f]")
"""Zero-width blanks, overrides of direction, tags. The joiners stay: Persian and emoji need them."""
_HIDING = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|(?:font-size|opacity):(?:0+(?:\.0+)?|\.0+)(?=[a-z%;!]|$)"
    r"|(?:left|top|right|text-indent):-\d{3,}"
)
_WHITE = re.compile(r"(?<![\w-])color:(?:#fff(?:fff)?\b|white\b|transparent|rgba?\(255,255,255|rgba\(\d+,\d+,\d+,0\))")


def without_invisible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def take_out_hidden(page: BeautifulSoup) -> list[str]:
    """Remove what a browser does not show; what is worth telling about it. A comment is, if it instructs a machine."""
    from bs4 import Comment, Tag

    notices = []
    for comment in page.find_all(string=lambda text: isinstance(text, Comment)):
        if why := instructions_in(str(comment)):
            notices.append(f"a comment {why}: “{_short(str(comment))}”; it is not read")
        comment.extract()
    for tag in page.find_all(True):
        if isinstance(tag, Tag) and not tag.decomposed and _is_hidden(tag.attrs):
            if words := tag.get_text(" ").strip():
                notices.append(left_out(words))
            tag.decompose()
    return notices


def _is_hidden(attributes: Mapping[str, object]) -> bool:
    style = re.sub(r"\s", "", str(attributes.get("style", "")).casefold())
    is_white = bool(_WHITE.search(style)) and "background" not in style
    is_white_font = str(attributes.get("color", "")).casefold().strip() in ("white", "#fff", "#ffffff")
    return "hidden" in attributes or bool(_HIDING.search(style)) or is_white or is_white_font


def shown_in(paragraph: Paragraph) -> tuple[str, str]:
    """The words of a Word file's paragraph that are seen, and those that are not."""
    from docx.text.run import Run

    shown, hidden = "", ""
    for part in paragraph.iter_inner_content():
        if isinstance(part, Run) and _is_unseen(part):
            hidden += part.text
        else:
            shown += part.text
    return shown.strip(), hidden.strip()


def _is_unseen(run: Run) -> bool:
    return bool(run.font.hidden) or str(run.font.color.rgb) == "FFFFFF"


def left_out(words: str) -> str:
    """A notice about hidden words."""
    return f"hidden text is left out: “{_short(words)}”"


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= SHOWN_CHARS else words[:SHOWN_CHARS].rstrip() + "…"
