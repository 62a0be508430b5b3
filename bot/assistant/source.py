"""YAML with line numbers, and the list of problems found while reading it. Meaning of the files is not known here.

Invariant: values are YAML 1.2 (`yes`, `on`, `12:30` are strings); `Node.plain` returns plain Python types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from bot.errors import AssistantError, Where

Level = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong in the assistant's files; an error stops loading, a warning does not."""

    level: Level
    where: Where | None
    message: str
    hint: str | None = None

    def as_error(self) -> AssistantError:
        return AssistantError(self.message, where=self.where, hint=self.hint)


@dataclass(kw_only=True)
class Problems:
    """Collects problems in the order they are found, so that one run shows all of them."""

    found: list[Problem] = field(default_factory=list)

    def error(self, where: Where | Node | None, message: str, hint: str | None = None) -> None:
        self.found.append(Problem(level="error", where=_place(where), message=message, hint=hint))

    def warning(self, where: Where | Node | None, message: str, hint: str | None = None) -> None:
        self.found.append(Problem(level="warning", where=_place(where), message=message, hint=hint))

    @property
    def first_error(self) -> Problem | None:
        return next((problem for problem in self.found if problem.level == "error"), None)


def _place(where: Where | Node | None) -> Where | None:
    return where.where if isinstance(where, Node) else where


@dataclass(frozen=True, kw_only=True)
class Node:
    """One YAML value and where it stands."""

    value: object
    file: Path
    line: int | None
    path: str = ""

    @property
    def where(self) -> Where:
        return Where(file=self.file, line=self.line, field=self.path or None)

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, Mapping)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def is_null(self) -> bool:
        return self.value is None

    def get(self, key: str) -> Node | None:
        """The value under `key`; None where the key is absent (an explicit null is a Node)."""
        if not isinstance(self.value, Mapping) or key not in self.value:
            return None
        return self._child(key, self.value[key])

    def items(self) -> Iterator[tuple[str, Node]]:
        if isinstance(self.value, Mapping):
            for key, value in self.value.items():
                yield str(key), self._child(key, value)

    def elements(self) -> Iterator[Node]:
        if not isinstance(self.value, list):
            return
        for index, value in enumerate(self.value):
            line = _line(self.value, index) or self.line
            yield Node(value=value, file=self.file, line=line, path=f"{self.path}[{index}]")

    def plain(self) -> object:
        return to_plain(self.value)

    def _child(self, key: object, value: object) -> Node:
        path = f"{self.path}.{key}" if self.path else str(key)
        return Node(value=value, file=self.file, line=_line(self.value, key) or self.line, path=path)

    # ---- typed access: a wrong type is reported and read as "nothing" ----

    def text(self, problems: Problems) -> str | None:
        if isinstance(self.value, str):
            return str(self.value)
        if isinstance(self.value, (int, float)):
            hint = f'Put it in quotes: "{self.value}".'
            problems.error(self, f"text is expected here, not the {_kind(self.value)} {self.value}", hint)
        else:
            problems.error(self, f"text is expected here, not {_kind(self.value)}")
        return None

    def number(self, problems: Problems) -> float | None:
        if isinstance(self.value, (int, float)) and not isinstance(self.value, bool):
            return float(self.value)
        problems.error(self, f"a number is expected here, not {_kind(self.value)}")
        return None

    def flag(self, problems: Problems) -> bool | None:
        if isinstance(self.value, bool):
            return bool(self.value)
        problems.error(self, f"true or false is expected here, not {_kind(self.value)}")
        return None

    def texts(self, problems: Problems) -> tuple[str, ...]:
        """A list of strings; a single string counts as a list of one, null as none."""
        if isinstance(self.value, str):
            return (str(self.value),)
        if self.is_null:
            return ()
        if not self.is_list:
            problems.error(self, f"a list of names is expected here, not {_kind(self.value)}")
            return ()
        return tuple(text for element in self.elements() if (text := element.text(problems)) is not None)

    def expect_map(self, problems: Problems) -> bool:
        if not self.is_map and not self.is_null:
            problems.error(self, f"a mapping (`key: value`) is expected here, not {_kind(self.value)}")
        return self.is_map

    def expect_list(self, problems: Problems) -> bool:
        if not self.is_list and not self.is_null:
            problems.error(self, f"a list (`- item`) is expected here, not {_kind(self.value)}")
        return self.is_list

    def warn_unknown_keys(self, known: frozenset[str], problems: Problems) -> None:
        for key, child in self.items():
            if key not in known:
                expected = ", ".join(sorted(known))
                problems.warning(child, f"unknown key '{key}'", f"It is ignored. Known keys here: {expected}.")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true/false"
    names: dict[type, str] = {str: "text", int: "number", float: "number", list: "a list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a mapping")


def _line(container: object, key: object) -> int | None:
    if not isinstance(container, (CommentedMap, CommentedSeq)):
        return None
    entry = (container.lc.data or {}).get(key)
    return int(entry[0]) + 1 if entry else None


def to_plain(value: object) -> object:
    """Plain dict, list, str, int, float, bool, None: without ruamel's comment-carrying types."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


def read_yaml(file: Path, problems: Problems) -> Node | None:
    """The file's root; None when it is missing, empty or not YAML (the latter two are reported)."""
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.error(Where(file=file), f"the file is not UTF-8 ({error.reason})", "Save it as UTF-8.")
        return None
    except OSError as error:
        problems.error(Where(file=file), f"the file cannot be read ({error.strerror})")
        return None
    try:
        value = YAML(typ="rt", pure=True).load(content)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        found = re.search(r'duplicate key "([^"]*)"', str(error))
        name = f" '{found.group(1)}'" if found else ""
        problems.error(Where(file=file, line=line), f"the key{name} stands here twice", "Keep one of the two.")
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problems.error(Where(file=file, line=line), f"not valid YAML: {error.problem or error.context}")
        return None
    except (YAMLError, ValueError) as error:
        problems.error(Where(file=file), f"not valid YAML: {error}")
        return None
    return Node(value=value, file=file, line=1) if value is not None else None


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def resolve_variables(node: Node, variables: Mapping[str, str], problems: Problems) -> object:
    """The node's plain value with `${NAME}` and `${NAME:-default}` replaced; an unset variable is an error."""

    def resolve(value: object, place: Node) -> object:
        if isinstance(value, str):
            return _VARIABLE.sub(lambda found: _lookup(found, variables, place, problems), value)
        if place.is_map:
            return {key: resolve(child.value, child) for key, child in place.items()}
        if place.is_list:
            return [resolve(child.value, child) for child in place.elements()]
        return to_plain(value)

    return resolve(node.value, node)


def _lookup(found: re.Match[str], variables: Mapping[str, str], place: Node, problems: Problems) -> str:
    name, default = found.group(1), found.group(2)
    if name in variables:
        return variables[name]
    if default is not None:
        return default
    problems.error(place, f"the variable {name} is not set", f"Set {name} in the environment, or write the value here.")
    return ""
