/* The side panel of /demo/?debug: what the assistant understood, which policy decided, and why, turn by turn. */

const NOTHING = "–";

export function showDebug() {
  const turns = element("ol", "turns");
  const note = element("p", "note", "Say something in the chat: every turn is explained here.");
  const panel = element("aside", "debug", element("h2", "", "Why it said that"), note, turns);
  panel.setAttribute("aria-label", "Debug");
  document.body.append(panel);
  document.body.classList.add("has-debug");
  let visitor = null;
  let timer = 0;
  const load = async () => {
    if (!visitor) return;
    const answer = await fetch("/demo/debug", { headers: { "X-Kefu-Visitor": visitor } });
    note.hidden = answer.ok;
    if (!answer.ok) {
      note.textContent = "Debugging is off on this server. Start it with: kefu serve --debug";
      return;
    }
    const found = (await answer.json()).turns;
    turns.replaceChildren(...found.map(renderTurn).reverse());
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(load, 150);
  };
  whenThere((kefu) => {
    kefu.on("welcome", (welcome) => {
      visitor = welcome.visitor;
      soon();
    });
    kefu.on("message", soon);
    kefu.open();
  });
}

// The widget's script is async: it may come before or after this one.
function whenThere(then) {
  if (window.Kefu) then(window.Kefu);
  else window.addEventListener("load", () => then(window.Kefu), { once: true });
}

function renderTurn(turn) {
  const ranking = (turn.ranking ?? []).map(({ name, confidence }) => bar(name, confidence));
  const decisions = (turn.decisions ?? []).map((decision) =>
    element("li", "", element("strong", "", decision.action), ` ${decision.policy ?? ""} ${percent(decision.confidence)}`,
      element("p", "why", decision.why ?? "")));
  return element("li", "turn",
    element("p", "said", turn.text),
    element("p", "intent", element("strong", "", turn.intent ?? NOTHING), ` ${percent(turn.confidence)}`),
    element("div", "ranking", ...ranking),
    facts(turn),
    element("ul", "decisions", ...decisions));
}

function facts(turn) {
  const entities = (turn.entities ?? []).map(({ entity, value }) => `${entity} = ${value}`).join(", ");
  const slots = Object.entries(turn.slots ?? {}).map(([name, value]) => `${name} = ${show(value)}`).join(", ");
  const rows = { entities, slots, sentiment: turn.sentiment, language: turn.language, model: turn.model_version };
  const list = element("dl", "");
  for (const [name, value] of Object.entries(rows)) {
    if (value) list.append(element("dt", "", name), element("dd", "", show(value)));
  }
  return list;
}

function bar(name, confidence) {
  const meter = document.createElement("meter");
  meter.value = confidence ?? 0;
  meter.setAttribute("aria-label", `${name} ${percent(confidence)}`);
  return element("div", "bar", element("span", "", name), meter, element("span", "", percent(confidence)));
}

function percent(value) {
  return typeof value === "number" ? `${(100 * value).toFixed(1)} %` : "";
}

function show(value) {
  if (value && typeof value === "object") return value.label ?? JSON.stringify(value);
  return String(value);
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
