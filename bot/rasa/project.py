"""A Rasa project, read in place: what of it runs here as it is, what is mapped, what differs, what does not run.

How it is shown is `project_view`'s. Invariant: the project's folder is only read; every finding says where it stands,
and every one that costs something says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from bot.assistant.components import Kind, look_up
from bot.assistant.loader import Assistant, check_assistant, load_assistant
from bot.assistant.nlg import nlg_kind
from bot.assistant.source import Node, Problem, Problems, read_yaml
from bot.errors import AssistantError, Where
from bot.rasa.component_options import differences, unread

Verdict = Literal[
    "supported",
    "mapped",
    "ignored",
    "differs",  # it runs, but not as in Rasa
    "unsupported",  # it is passed over
    "error",  # the project does not load until it is mended
]
_COSTS = ("differs", "unsupported", "error")
_RASA_2 = "Run `rasa data migrate` with Rasa 3 in the project first, then import it again."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the project names. `subject`: its name, with the file's key where that helps."""

    verdict: Verdict
    subject: str
    message: str
    remedy: str = ""
    where: Where | None = None

    def as_json(self) -> dict[str, Any]:
        place = self.where
        return {
            "verdict": self.verdict,
            "subject": self.subject,
            "message": self.message,
            "remedy": self.remedy,
            "file": str(place.file) if place else None,
            "line": place.line if place else None,
        }


@dataclass(frozen=True, kw_only=True)
class ProjectReport:
    """What was found; `sizes` counts intents, examples, stories and so on where the files load."""

    root: Path
    findings: tuple[Finding, ...]
    sizes: Mapping[str, int]
    kefu_yml: str

    @property
    def errors(self) -> int:
        return sum(finding.verdict == "error" for finding in self.findings)

    @property
    def to_look_at(self) -> int:
        return sum(finding.verdict in _COSTS for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One line: does it run?"""
        if self.errors:
            first = next(finding for finding in self.findings if finding.verdict == "error")
            more = f" (and {self.errors - 1} more)" if self.errors > 1 else ""
            return f"does not run yet: {first.message}{more}"
        if self.to_look_at:
            return f"runs, {self.to_look_at} thing{'s' if self.to_look_at > 1 else ''} to look at"
        return "runs unchanged"

    def as_json(self) -> dict[str, Any]:
        return {
            "project": str(self.root),
            "verdict": self.verdict,
            "runs": not self.errors,
            "to_look_at": self.to_look_at,
            "sizes": dict(self.sizes),
            "findings": [finding.as_json() for finding in self.findings],
            "kefu_yml": self.kefu_yml,
        }


def examine_project(root: Path, variables: Mapping[str, str]) -> ProjectReport:
    """Look through the Rasa project in `root`; `variables` resolve `${NAME}` in endpoints and credentials.

    Raises:
        AssistantError: there is no such folder, or nothing of a Rasa project in it.
    """
    config = _read(root / "config.yml")
    if not root.is_dir() or (config is None and not any(root.glob("domain*"))):
        hint = "Give the folder with domain.yml, config.yml and data/."
        raise AssistantError("there is no Rasa project here", where=Where(file=root), hint=hint)
    outdated = list(_outdated(root))
    findings = [
        *outdated,
        *(() if config is None else _config(config)),
        *_endpoints(root),
        *_credentials(root),
        *(() if outdated else _problems(root, variables)),
    ]
    assistant = None if any(finding.verdict == "error" for finding in findings) else load_assistant(root, variables)
    if assistant is not None:
        findings += _rest(assistant)
    return ProjectReport(
        root=root,
        findings=tuple(findings),
        sizes=_sizes(assistant) if assistant else {},
        kefu_yml=propose_config(config, assistant),
    )


def _read(file: Path) -> Node | None:
    root = read_yaml(file, Problems()) if file.is_file() else None
    return root if root is not None and root.is_map else None


# ---- config.yml ----


def _config(config: Node) -> Iterator[Finding]:
    kinds: tuple[tuple[str, Kind], ...] = (("pipeline", "component"), ("policies", "policy"))
    for key, kind in kinds:
        section = config.get(key)
        for element in section.elements() if section is not None else ():
            name = element.get("name") if element.is_map else element
            if name is not None and isinstance(name.value, str):
                settings = cast("dict[str, Any]", element.plain()) if element.is_map else {}
                yield from _component(kind, str(name.value), settings, element.where)
    recipe, importers = config.get("recipe"), config.get("importers")
    if recipe is not None and recipe.value != "default.v1":
        message = f"the recipe {recipe.value} builds a graph of components of its own, which is not read"
        yield Finding(
            verdict="unsupported",
            subject="recipe",
            message=message,
            remedy="Write the same components as `pipeline:` and `policies:` with `recipe: default.v1`.",
            where=recipe.where,
        )
    if importers is not None and not importers.is_null:
        yield Finding(
            verdict="unsupported",
            subject="importers",
            message="data are read from domain.yml or domain/ and from data/, by no importer",
            remedy="Put what the importer brings together (other projects' files) into these folders.",
            where=importers.where,
        )


def _component(kind: Kind, name: str, settings: Mapping[str, Any], where: Where) -> Iterator[Finding]:
    entry = look_up(kind, name)
    message = entry.what_happens
    moot = unread(entry.name, settings) if entry.verdict in ("supported", "mapped") else []
    if moot:
        message += f"; {', '.join(moot)} belong to Rasa's own and are not read"
    yield Finding(verdict=entry.verdict, subject=name, message=message, remedy=entry.remedy, where=where)
    if entry.verdict != "unsupported":
        for option, difference in differences(entry.name, settings):
            yield Finding(
                verdict="differs",
                subject=f"{entry.name}.{option}",
                message=difference.message,
                remedy=difference.remedy,
                where=where,
            )


# ---- endpoints.yml, credentials.yml ----


def _endpoints(root: Path) -> Iterator[Finding]:
    endpoints = _read(root / "endpoints.yml")
    if endpoints is None:
        return
    kinds: tuple[tuple[Kind, str], ...] = (
        ("tracker_store", "InMemoryTrackerStore"),
        ("lock_store", "in_memory"),
        ("event_broker", "pika"),
    )
    for kind, default in kinds:
        section = endpoints.get(kind)
        if section is None or section.is_null:
            continue
        named = section.get("type")
        name = named.value if named is not None and isinstance(named.value, str) else default
        entry = look_up(kind, str(name))
        yield Finding(
            verdict=entry.verdict,
            subject=f"{kind}: {name}",
            message=entry.what_happens,
            remedy=entry.remedy,
            where=(named or section).where,
        )
    yield from _other_endpoints(endpoints)


def _other_endpoints(endpoints: Node) -> Iterator[Finding]:
    if (server := endpoints.get("action_endpoint")) is not None and not server.is_null:
        yield Finding(
            verdict="supported",
            subject="action_endpoint",
            message="the action server is asked as Rasa asks it",
            remedy="Without the entry, actions/ runs in Kefu's own process and no second server is needed.",
            where=server.where,
        )
    if (nlg := endpoints.get("nlg")) is not None and not nlg.is_null:
        yield from _nlg(nlg)
    if (models := endpoints.get("models")) is not None and not models.is_null:
        yield Finding(
            verdict="unsupported",
            subject="models",
            message="Rasa's model server is not asked: Kefu trains and keeps versions of its own",
            remedy="Run `kefu train`; `kefu models` promotes and rolls back.",
            where=models.where,
        )


def _nlg(section: Node) -> Iterator[Finding]:
    kind, url = section.get("type"), section.get("url")
    match nlg_kind(kind.value if kind else None):
        case "domain":
            return
        case "rephrase":
            verdict: Verdict = "differs"
            message = "responses with `metadata: {rephrase: True}` are rephrased by kefu.yml's generator, and checked"
            remedy = "Name a generator in kefu.yml (`generation:`); `rephrase_all`, `llm` and prompts are not read."
        case "own":
            verdict = "unsupported"
            message = "responses are taken from the domain; a generator of the project's own is not run"
            remedy = "Put its texts under `responses:`, or run it as a server and name its url."
        case "server" if not str(url.value if url else "").startswith(("http://", "https://", "${")):
            verdict = "unsupported"
            message = "responses are taken from the domain: the NLG server has no `url` that begins with http"
            remedy = "Write its whole address."
        case "server":
            verdict = "supported"
            message = "the NLG server is asked as Rasa asks it"
            remedy = "Keep the texts under `responses:`: where the server fails, they are said."
    yield Finding(verdict=verdict, subject="nlg", message=message, remedy=remedy, where=section.where)


def _credentials(root: Path) -> Iterator[Finding]:
    credentials = _read(root / "credentials.yml")
    for name, node in credentials.items() if credentials is not None else ():
        entry = look_up("channel", name)
        # A Rasa project's own class is written for Rasa: it is work, even where one of Kefu's would be loaded.
        yield Finding(
            verdict="differs" if entry.remedy and entry.verdict == "mapped" else entry.verdict,
            subject=f"channel {name}",
            message=entry.what_happens,
            remedy=entry.remedy,
            where=node.where,
        )


# ---- what Rasa 3 itself would refuse ----


def _outdated(root: Path) -> Iterator[Finding]:
    """Files of Rasa 1 and 2: they load in part, so half a bot would answer."""
    for file in sorted((root / "data").rglob("*.md")) if (root / "data").is_dir() else ():
        head = file.read_text(encoding="utf-8", errors="replace")[:100_000]
        if "## intent:" in head or "\n* " in head:
            message = "training data in Markdown are Rasa 1's"
            remedy = f"Convert them with Rasa 2 (`rasa data convert`). Then: {_RASA_2}"
            yield Finding(verdict="error", subject="Markdown", message=message, remedy=remedy, where=Where(file=file))
    places = [root / "data", root / "domain"]
    files = [file for place in places if place.is_dir() for file in sorted(place.rglob("*.y*ml"))]
    for file in [root / "domain.yml", *files]:
        document = _read(file)
        if document is not None:
            yield from _outdated_file(document)


def _outdated_file(document: Node) -> Iterator[Finding]:
    version = document.get("version")
    if version is not None and str(version.value).startswith(("1", "2")):
        message = f"the file is of Rasa {version.value}"
        yield Finding(verdict="error", subject="version", message=message, remedy=_RASA_2, where=version.where)
    forms = document.get("forms")
    if forms is not None and forms.is_list:
        message = "forms without their slots are Rasa 1's"
        yield Finding(verdict="error", subject="forms", message=message, remedy=_RASA_2, where=forms.where)
    for name, form in forms.items() if forms is not None else ():
        required = form.get("required_slots")
        if (required is not None and required.is_map) or any(
            part.is_list
            for key, part in form.items()
            if key
            not in (
                "required_slots",
                "ignored_intents",
            )
        ):
            message = f"the form '{name}' maps its slots itself, as in Rasa 2"
            remedy = f"Since Rasa 3 slots carry their mappings. {_RASA_2}"
            yield Finding(verdict="error", subject="forms", message=message, remedy=remedy, where=form.where)


# ---- everything else ----

_SETTINGS_FILES = ("config.yml", "endpoints.yml", "credentials.yml")


def _problems(root: Path, variables: Mapping[str, str]) -> Iterator[Finding]:
    """Errors, each; warnings about the files' names and rules together, since they keep nothing from running."""
    from bot.dialogue.policies import check_dialogue

    errors = [problem for problem in check_assistant(root, variables) if problem.level == "error"]
    warnings: list[Problem] = []
    if not errors:
        assistant = load_assistant(root, variables)
        compiled = check_dialogue(assistant)
        errors = [problem for problem in compiled if problem.level == "error"]
        warnings = [problem for problem in (*assistant.warnings, *compiled) if problem.level == "warning"]
    for problem in errors:
        remedy = problem.hint or ""
        yield Finding(verdict="error", subject="files", message=problem.message, remedy=remedy, where=problem.where)
    # What stands in the settings' files was told component by component.
    rest = [problem for problem in warnings if problem.where is None or problem.where.file.name not in _SETTINGS_FILES]
    if rest:
        more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
        message, remedy = f"{rest[0].message}{more}", "`kefu validate` lists every one."
        yield Finding(verdict="differs", subject="warnings", message=message, remedy=remedy, where=rest[0].where)


def _rest(assistant: Assistant) -> Iterator[Finding]:
    root, own = assistant.root, assistant.domain.custom_actions
    code = next((place for place in (root / "actions", root / "actions.py") if place.exists()), None)
    server = assistant.endpoints.get("action_endpoint")
    if code is not None and not server:
        message = "custom actions run in Kefu's process, on threads of their own, with a deadline"
        yield Finding(verdict="supported", subject=code.name, message=message, where=Where(file=code))
    elif own and not server and code is None:
        name, where = next(iter(own.items()))
        yield Finding(
            verdict="differs",
            subject="actions",
            message=f"the domain names {len(own)} custom actions ('{name}' first), and there is no code for them here",
            remedy="Put them into actions/, or name the action server under action_endpoint in endpoints.yml.",
            where=where,
        )
    for file in sorted((root / "tests").glob("test_*.y*ml")) if (root / "tests").is_dir() else ():
        yield Finding(
            verdict="supported", subject=file.name, message="`kefu test` runs these stories", where=Where(file=file)
        )
    if any((root / "models").glob("*.tar.gz")):
        message = "models trained by Rasa cannot be read; `kefu train` makes Kefu's from the same data"
        yield Finding(verdict="mapped", subject="models/", message=message, where=Where(file=root / "models"))


def _sizes(assistant: Assistant) -> dict[str, int]:
    domain = assistant.domain
    return {
        "intents": len(domain.intents),
        "examples": len(assistant.nlu.examples),
        "entities": len(domain.entities),
        "slots": len(domain.slots),
        "forms": len(domain.forms),
        "responses": len(domain.responses),
        "custom actions": len(domain.custom_actions),
        "rules": len(assistant.rules),
        "stories": len(assistant.stories),
    }


# ---- kefu.yml ----

_ENGLISH = "all-MiniLM-L6-v2"
_MULTILINGUAL = "multilingual-e5-small"


def propose_config(config: Node | None, assistant: Assistant | None) -> str:
    """A kefu.yml for the project, with the reason of each line as a comment."""
    language_node = config.get("language") if config is not None else None
    language = str(language_node.value) if language_node is not None and language_node.value else "en"
    is_english = language.lower().split("_")[0].split("-")[0] == "en"
    lines = [
        "# What Kefu needs to know beside the Rasa project's own files; Rasa does not read it.",
        f"# config.yml says language: {language}. The base model reads customers' messages"
        f"{' in English' if is_english else ' in a hundred languages'}.",
        f"base: {_ENGLISH if is_english else _MULTILINGUAL}",
    ]
    if weights := _model_weights(config):
        lines.append(f"# The pipeline named {weights}; to keep that base (PyTorch weights are needed): base: {weights}")
    lines += [
        "# quick trains in seconds; full takes minutes and is better where an intent has dozens of examples.",
        "recipe: quick",
    ]
    if assistant is not None and assistant.duckling is not None and assistant.duckling.timezone:
        lines += ["# From the pipeline's DucklingEntityExtractor.", f"timezone: {assistant.duckling.timezone}"]
    return "\n".join(lines) + "\n"


def _model_weights(config: Node | None) -> str | None:
    section = config.get("pipeline") if config is not None else None
    for element in section.elements() if section is not None else ():
        name, weights = element.get("name"), element.get("model_weights")
        if name is not None and str(name.value).endswith("LanguageModelFeaturizer"):
            return str(weights.value) if weights is not None and weights.value else None
    return None
