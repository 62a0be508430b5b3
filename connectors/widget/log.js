/* The list of messages: what the server confirmed, in its order, then what is still on its way. A screen reader hears a
   message when it is new; the history of a reload is there to read, but not read out. */

import { make } from "./elements.js";
import { icon } from "./icons.js";
import { attachmentPart, moreText, plainBubble, renderOwnPart, renderPart } from "./parts.js";

const NEAR_BOTTOM_PX = 80;
const SAME_GROUP_MS = 5 * 60_000;

export class MessageLog {
  #entries = [];
  #pending = new Map();
  #confirmed = make("div", { class: "kefu-confirmed" });
  #waiting = make("div", { class: "kefu-waiting" });
  #greeting = make("div", { class: "kefu-greeting" });
  #newer;
  #follows = true;
  #top = 0;
  #context;
  #retry;
  #discard;
  #midnight;
  #observer;

  /* `context`: what parts need, plus `texts`, `locale`, `names` and `greeting()`; `retry(id)` sends again, `discard(id)`
     gives up. */
  constructor(context, retry, discard) {
    this.#context = context;
    this.#retry = retry;
    this.#discard = discard;
    this.list = make("div", { class: "kefu-log", role: "log", "aria-live": "off", "aria-relevant": "additions", tabindex: "0" });
    this.list.append(this.#greeting, this.#confirmed, this.#waiting);
    this.#newer = make("button", { type: "button", class: "kefu-newer", hidden: true, onclick: () => this.toBottom() });
    this.element = make("div", { class: "kefu-log-frame" }, this.list, this.#newer);
    this.list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // A picture that loads late makes the list longer: whoever was at the end stays there.
    this.#observer = new ResizeObserver(() => this.#follows && this.toBottom());
    for (const part of [this.#greeting, this.#confirmed, this.#waiting]) this.#observer.observe(part);
    this.#relabelAtMidnight();
    this.render();
  }

  destroy() {
    clearTimeout(this.#midnight);
    this.#observer.disconnect();
  }

  /* From now on new messages are announced. */
  goLive() {
    this.list.setAttribute("aria-live", "polite");
  }

  clear() {
    this.list.setAttribute("aria-live", "off");
    this.#entries = [];
    this.render();
  }

  addMessage(frame) {
    if (frame.client_msg_id) this.dropPending(frame.client_msg_id);
    if (!this.#grow(frame)) {
      this.#entries.push(frame);
      this.#append(frame);
    }
    if (!this.#follows) this.#newer.hidden = false;
  }

  addPending(item, status = "sending") {
    if (this.#pending.has(item.id)) return;
    this.#pending.set(item.id, { item, status });
    this.#waiting.append(this.#pendingEntry(item, status));
    this.#useUpQuickReplies();
    this.toBottom();
  }

  dropPending(id) {
    this.#pending.delete(id);
    this.#pendingNode(id)?.remove();
  }

  /* What was said and is known here, oldest first. */
  get entries() {
    return [...this.#entries];
  }

  /* Status of an own message: sending, sent, waiting (not sent yet) or refused, with the reason's text. */
  setStatus(id, status, reason = null) {
    const known = this.#pending.get(id);
    if (!known || (known.status === status && known.reason === reason)) return;
    Object.assign(known, { status, reason });
    this.#pendingNode(id)?.replaceWith(this.#pendingEntry(known.item, status, reason));
  }

  statusOf(id) {
    return this.#pending.get(id)?.status ?? null;
  }

  toBottom() {
    this.#follows = true;
    this.#newer.hidden = true;
    this.list.scrollTop = this.list.scrollHeight;
    this.#top = this.list.scrollTop;
  }

  toBottomIfFollowing() {
    if (this.#follows) this.toBottom();
  }

  /* Draw everything again, after another language was chosen. */
  render() {
    const { texts } = this.#context;
    const live = this.list.getAttribute("aria-live");
    this.list.setAttribute("aria-live", "off");
    this.list.setAttribute("aria-label", texts.conversation);
    this.#newer.replaceChildren(texts.newMessages);
    this.#greeting.replaceChildren(...this.#greetingEntry());
    this.#confirmed.replaceChildren();
    const entries = this.#entries;
    this.#entries = [];
    for (const frame of entries) {
      this.#entries.push(frame);
      this.#append(frame);
    }
    this.#waiting.replaceChildren(
      ...[...this.#pending.values()].map(({ item, status, reason }) => this.#pendingEntry(item, status, reason)),
    );
    if (this.#pending.size) this.#useUpQuickReplies();
    this.list.setAttribute("aria-live", live);
  }

  // ---- one entry ----

  /* More of a reply that is said while it is written goes into the bubble in which it began: whether that was there. Only
     what is new is added, so that a screen reader does not begin again. */
  #grow({ continues, parts }) {
    const at = continues ? this.#entries.findIndex(({ seq }) => seq === continues.seq) : -1;
    const begun = this.#entries[at];
    const bubble = [...this.#confirmed.children].find((node) => node.dataset.seq === String(continues?.seq))?.querySelector(".kefu-bubble");
    if (!bubble || [...begun.parts, ...parts].some(({ type }) => type !== "text")) return false;
    const text = parts.map((part) => part.text).join("\n");
    bubble.append(moreText(continues.joined_by + text));
    const [first, ...others] = begun.parts;
    this.#entries[at] = { ...begun, parts: [{ ...first, text: first.text + continues.joined_by + text }, ...others] };
    return true;
  }

  #append(frame) {
    const previous = this.#entries.at(-2);
    const at = new Date(frame.created_at);
    if (!previous || dayOf(new Date(previous.created_at)) !== dayOf(at)) this.#confirmed.append(this.#day(at));
    else if (previous.author === frame.author && at - new Date(previous.created_at) < SAME_GROUP_MS) {
      this.#confirmed.lastElementChild?.classList.add("kefu-joined");
    }
    const isOwn = frame.author === "customer";
    if (isOwn) {
      this.#useUpQuickReplies();
      this.#context.hint({ input: "text" });
    }
    const body = this.#body(frame, isOwn);
    // Nothing in it that this widget can show (a newer server's part): no empty bubble.
    if (!body.length) return;
    const status = isOwn ? make("span", { class: "kefu-status" }, this.#context.texts.sent) : null;
    const entry = this.#entry(frame.author, body, this.#time(at), status);
    entry.dataset.seq = frame.seq;
    this.#confirmed.append(entry);
  }

  #body(frame, isOwn) {
    const render = isOwn ? renderOwnPart : renderPart;
    return frame.parts.flatMap((part) => render(part, this.#context));
  }

  #entry(author, body, ...meta) {
    const { texts, names } = this.#context;
    // What the system says (its words come from the shop, no person wrote them) counts as the assistant's.
    const name = author === "customer" ? texts.you : author === "operator" ? texts.operator : names().assistant;
    const side = author === "customer" ? "own" : author === "operator" ? "operator" : "bot";
    return make("div", { class: `kefu-entry kefu-${side}` },
      make("span", { class: "kefu-hidden" }, texts.says(name)),
      ...body,
      meta.length ? make("p", { class: "kefu-meta", "aria-live": "off" }, author === "operator" ? `${name} · ` : null, ...meta) : null);
  }

  #greetingEntry() {
    const greeting = this.#context.greeting();
    return greeting ? [this.#entry("bot", [plainBubble(greeting)])] : [];
  }

  #pendingEntry(item, status, reason = null) {
    const { texts } = this.#context;
    const files = item.attachments ?? [];
    const words = item.title ?? item.text ?? item.payload;
    const body = words ? [plainBubble(words)] : [];
    body.push(...files.map(attachmentPart).flatMap((part) => renderOwnPart(part, this.#context)));
    const label = { sending: texts.sending, sent: texts.sent, waiting: texts.notSent, refused: reason ?? texts.refused }[status];
    const isStuck = status === "waiting" || status === "refused";
    const retry = isStuck
      ? make("button", { type: "button", class: "kefu-retry", onclick: () => this.#retry(item.id) }, icon("retry"), texts.retry)
      : null;
    const discard = status === "refused"
      ? make("button", { type: "button", class: "kefu-retry", onclick: () => this.#discard(item.id) }, texts.discard)
      : null;
    const entry = this.#entry("customer", body, make("span", { class: "kefu-status" }, label), retry, discard);
    entry.dataset.id = item.id;
    entry.classList.add(`kefu-is-${status}`);
    return entry;
  }

  #pendingNode(id) {
    return [...this.#waiting.children].find((node) => node.dataset.id === id);
  }

  #useUpQuickReplies() {
    for (const group of this.#confirmed.querySelectorAll(".kefu-quick")) group.remove();
  }

  // ---- time ----

  #time(at) {
    const shown = new Intl.DateTimeFormat(this.#context.locale(), { hour: "2-digit", minute: "2-digit" }).format(at);
    return make("time", { datetime: at.toISOString() }, shown);
  }

  #day(at) {
    return make("p", { class: "kefu-day", "data-at": at.toISOString() }, dayLabel(at, this.#context.locale()));
  }

  #relabelAtMidnight() {
    const now = new Date();
    const next = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1, 0, 0, 1);
    this.#midnight = setTimeout(() => {
      for (const day of this.#confirmed.querySelectorAll(".kefu-day")) {
        day.textContent = dayLabel(new Date(day.dataset.at), this.#context.locale());
      }
      this.#relabelAtMidnight();
    }, next - now);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    if (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX) {
      this.#follows = true;
      this.#newer.hidden = true;
    } else if (scrollTop < this.#top) {
      // Somebody went up. The end may also be far because the list grew before this event came.
      this.#follows = false;
    }
    this.#top = scrollTop;
  }
}

function dayOf(at) {
  return `${at.getFullYear()}-${at.getMonth()}-${at.getDate()}`;
}

function dayLabel(at, locale) {
  const today = new Date();
  const days = Math.round((startOfDay(at) - startOfDay(today)) / 86_400_000);
  if (days === 0 || days === -1) return capital(new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(days, "day"), locale);
  const year = at.getFullYear() === today.getFullYear() ? undefined : "numeric";
  return new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long", year }).format(at);
}

// Counted in UTC, so that a day with a clock change is a whole day too.
function startOfDay(at) {
  return Date.UTC(at.getFullYear(), at.getMonth(), at.getDate());
}

function capital(text, locale) {
  return text.charAt(0).toLocaleUpperCase(locale) + text.slice(1);
}
