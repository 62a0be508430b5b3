"""`kefu import-rasa` on projects as people have them: each thing is named with its place, and the verdict holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.assistant.config import read_kefu_config
from bot.assistant.source import Problems, read_yaml
from bot.cli import app
from bot.errors import AssistantError, ConfigurationError
from bot.rasa.importing import write_proposal
from bot.rasa.project import Finding, ProjectReport, examine_project

FILES = {
    "config.yml": """\
recipe: default.v1
assistant_id: mine
language: en
pipeline:
- name: WhitespaceTokenizer
- name: DIETClassifier
  epochs: 100
- name: FallbackClassifier
  threshold: 0.4
policies:
- name: MemoizationPolicy
- name: RulePolicy
""",
    "domain.yml": """\
version: "3.1"
intents: [greet, bye]
responses:
  utter_greet:
  - text: Hello
  utter_bye:
  - text: Bye
""",
    "data/nlu.yml": """\
version: "3.1"
nlu:
- intent: greet
  examples: |
    - hello
    - good morning
- intent: bye
  examples: |
    - bye
    - see you later
""",
    "data/rules.yml": """\
version: "3.1"
rules:
- rule: greet
  steps:
  - intent: greet
  - action: utter_greet
- rule: bye
  steps:
  - intent: bye
  - action: utter_bye
""",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in FILES.items():
        write(folder, name, text)
    return folder


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def replace(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    write(root, name, text.replace(old, new))


def examine(root: Path) -> ProjectReport:
    return examine_project(root, {})


def find(report: ProjectReport, subject: str) -> Finding:
    [found] = [finding for finding in report.findings if finding.subject == subject]
    return found


def test_a_project_without_anything_of_its_own_runs_unchanged(root: Path) -> None:
    report = examine(root)
    assert report.verdict == "runs unchanged"
    assert report.sizes["examples"] == 4
    assert find(report, "RulePolicy").verdict == "supported"
    diet = find(report, "DIETClassifier")
    assert (diet.verdict, diet.where and diet.where.line) == ("mapped", 6)
    assert "epochs" in diet.message


@pytest.mark.parametrize(
    ("entry", "subject", "verdict"),
    [
        ("- name: SpacyEntityExtractor", "SpacyEntityExtractor", "unsupported"),
        ("- name: addons.sentiment.Analyser", "addons.sentiment.Analyser", "unsupported"),
        ("- name: KeywordIntentClassifier", "KeywordIntentClassifier", "supported"),
        (
            "- name: rasa.nlu.featurizers.x.CountVectorsFeaturizer",
            "rasa.nlu.featurizers.x.CountVectorsFeaturizer",
            "mapped",
        ),
        ("- name: JiebaTokenizer", "JiebaTokenizer", "ignored"),
    ],
)
def test_a_component_is_told_by_its_line(root: Path, entry: str, subject: str, verdict: str) -> None:
    replace(root, "config.yml", "- name: DIETClassifier\n", f"{entry}\n- name: DIETClassifier\n")
    report = examine(root)
    found = find(report, subject)
    assert (found.verdict, found.where and found.where.line) == (verdict, 6)
    costs = verdict == "unsupported"
    assert report.verdict == ("runs, 1 thing to look at" if costs else "runs unchanged")
    assert bool(found.remedy) == costs


@pytest.mark.parametrize(
    ("old", "new", "subject"),
    [
        ("Tokenizer", "Tokenizer\n  intent_tokenization_flag: true", "WhitespaceTokenizer.intent_tokenization_flag"),
        ("  epochs: 100", "  entity_recognition: false", "DIETClassifier.entity_recognition"),
        ("- name: RulePolicy", "- name: RulePolicy\n  priority: 9", "RulePolicy.priority"),
        ("threshold: 0.4", "threshold: 0.8", "FallbackClassifier.threshold"),
    ],
)  # fmt: skip
def test_an_option_that_changes_what_the_bot_does_is_told(root: Path, old: str, new: str, subject: str) -> None:
    replace(root, "config.yml", old, new)
    report = examine(root)
    assert find(report, subject).verdict == "differs"
    assert report.verdict == "runs, 1 thing to look at"


def test_honoured_options_are_not_called_unread(root: Path) -> None:
    replace(root, "config.yml", "- name: MemoizationPolicy", "- name: MemoizationPolicy\n  max_history: 3\n  batch: 1")
    message = find(examine(root), "MemoizationPolicy").message
    assert "batch" in message
    assert "max_history" not in message


def test_stores_brokers_and_channels_are_named_with_what_takes_their_place(root: Path) -> None:
    write(
        root,
        "endpoints.yml",
        "tracker_store:\n  type: SQL\n  db: rasa.db\nlock_store:\n  type: redis\nevent_broker:\n  type: file\n"
        "nlg:\n  url: http://localhost:5056/nlg\n",
    )
    write(root, "credentials.yml", "rest:\ntwilio:\n  account_sid: x\nmy.channels.Fax:\n")
    report = examine(root)
    assert find(report, "tracker_store: SQL").verdict == "mapped"
    assert "--tracker-store" in find(report, "tracker_store: SQL").remedy
    assert find(report, "lock_store: redis").verdict == "mapped"
    assert find(report, "event_broker: file").verdict == "unsupported"
    assert find(report, "channel rest").verdict == "supported"
    assert find(report, "channel twilio").verdict == "unsupported"
    assert find(report, "channel my.channels.Fax").verdict == "differs"
    assert "docs/connectors.md" in find(report, "channel my.channels.Fax").remedy
    assert find(report, "nlg").verdict == "supported"
    assert report.verdict == "runs, 3 things to look at"


@pytest.mark.parametrize(
    ("section", "verdicts"),
    [
        ("type: response", []),
        ("type: Callback\n  url: http://localhost:5056/nlg", ["supported"]),
        ("url: ${NLG:-http://localhost:5056/nlg}", ["supported"]),
        ("url: localhost:5056/nlg", ["unsupported"]),
        ("token: x", ["unsupported"]),
        ("type: rephrase", ["differs"]),
        ("type: my.Nlg\n  url: http://localhost:5056/nlg", ["unsupported"]),
    ],
)
def test_who_words_the_responses(root: Path, section: str, verdicts: list[str]) -> None:
    write(root, "endpoints.yml", f"nlg:\n  {section}\n")
    assert [finding.verdict for finding in examine(root).findings if finding.subject == "nlg"] == verdicts


def test_what_rasa_3_would_refuse_does_not_run_yet(root: Path) -> None:
    write(root, "data/rules.yml", FILES["data/rules.yml"].replace("utter_bye", "utter_goodby"))
    report = examine(root)
    assert report.verdict.startswith("does not run yet: rule 'bye' says 'utter_goodby'")
    where = find(report, "files").where
    assert where is not None
    assert (where.file.name, where.line) == ("rules.yml", 10)


@pytest.mark.parametrize(
    ("name", "old", "new", "subject"),
    [
        ("data/nlu.yml", 'version: "3.1"', 'version: "2.0"', "version"),
        ("domain.yml", "responses:", "forms:\n  order_form:\n    size:\n    - type: from_text\nresponses:", "forms"),
        ("domain.yml", "responses:", "forms:\n- order_form\nresponses:", "forms"),
    ],
)
def test_projects_of_rasa_2_are_told_to_migrate_first(root: Path, name: str, old: str, new: str, subject: str) -> None:
    replace(root, name, old, new)
    report = examine(root)
    assert report.errors == 1
    assert "rasa data migrate" in find(report, subject).remedy


def test_markdown_data_are_of_rasa_1(root: Path) -> None:
    write(root, "data/old.md", "## intent:greet\n- hi\n")
    assert examine(root).verdict == "does not run yet: training data in Markdown are Rasa 1's"


def test_custom_actions_without_code_or_server_are_told(root: Path) -> None:
    replace(root, "domain.yml", "responses:", "actions: [action_look_up]\nresponses:")
    assert find(examine(root), "actions").verdict == "differs"
    write(root, "actions/actions.py", "")
    assert find(examine(root), "actions").verdict == "supported"


def test_graph_recipes_and_importers_are_not_read(root: Path) -> None:
    text = FILES["config.yml"].replace("default.v1", "graph.v1") + "importers:\n- name: MultiProjectImporter\n"
    write(root, "config.yml", text)
    report = examine(root)
    assert [find(report, subject).verdict for subject in ("recipe", "importers")] == ["unsupported", "unsupported"]


@pytest.mark.parametrize(
    ("language", "base"), [("en", "all-MiniLM-L6-v2"), ("zh", "multilingual-e5-small"), ("de", "multilingual-e5-small")]
)
def test_the_proposed_kefu_yml_has_a_base_for_the_language_and_loads(root: Path, language: str, base: str) -> None:
    replace(root, "config.yml", "language: en", f"language: {language}")
    write(root, "kefu.yml", examine(root).kefu_yml)
    problems = Problems()
    config = read_kefu_config(read_yaml(root / "kefu.yml", problems), problems)
    assert (config.base, config.recipe, problems.found) == (base, "quick", [])


def test_weights_that_the_pipeline_named_are_offered(root: Path) -> None:
    entry = "- name: LanguageModelFeaturizer\n  model_name: bert\n  model_weights: bert-base-chinese\n"
    replace(root, "config.yml", "- name: DIETClassifier\n", f"{entry}- name: DIETClassifier\n")
    assert "base: bert-base-chinese" in examine(root).kefu_yml


def test_the_project_is_only_read(root: Path) -> None:
    def state() -> dict[str, tuple[bytes, float]]:
        return {str(f): (f.read_bytes(), f.stat().st_mtime) for f in sorted(root.rglob("*")) if f.is_file()}

    before = state()
    CliRunner().invoke(app, ["import-rasa", str(root)])
    assert state() == before


def test_files_are_written_where_asked_and_never_over_another(root: Path, tmp_path: Path) -> None:
    report = examine(root)
    written = list(write_proposal(report, tmp_path / "out", into_project=True))
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "out/kefu.yml",
        "out/report.json",
        "project/kefu.yml",
    ]
    write(root, "kefu.yml", "base: ngram\n")
    with pytest.raises(ConfigurationError, match="exists"):
        list(write_proposal(report, None, into_project=True))
    assert (root / "kefu.yml").read_text() == "base: ngram\n"


def test_the_command_prints_lines_for_a_pipe_and_json(root: Path) -> None:
    piped = CliRunner().invoke(app, ["import-rasa", str(root)])
    assert piped.exit_code == 0
    assert piped.output.splitlines()[-1] == f"{root}: runs unchanged"
    assert any(line.startswith("config.yml:6: mapped: DIETClassifier: ") for line in piped.output.splitlines())
    told = json.loads(CliRunner().invoke(app, ["import-rasa", str(root), "--json"]).output)
    assert (told["runs"], told["verdict"]) == (True, "runs unchanged")
    replace(root, "data/nlu.yml", 'version: "3.1"', 'version: "2.0"')
    assert CliRunner().invoke(app, ["import-rasa", str(root), "--json"]).exit_code == 1


def test_a_folder_without_a_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssistantError, match="no Rasa project"):
        examine(tmp_path)
