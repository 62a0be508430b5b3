/* What is seen around the conversation: the launcher, the header with its menu, the lines that say what is wrong, and the
   focus that stays inside while the chat is open. What happens is decided in app.js. */

import { make } from "./elements.js";
import { closedAt, momentLabel } from "./hours.js";
import { icon } from "./icons.js";
import { Menu } from "./menu.js";
import { picture } from "./parts.js";
import { localized } from "./texts.js";

const FOCUSABLE = 'a[href], button:not([disabled]):not([tabindex="-1"]), input:not([type="file"]), textarea, [tabindex="0"]';
const LOOK_AT_THE_CLOCK_MS = 60_000;

export class Panel {
  #context;
  #actions;
  #menu;
  #clock;
  #alertEnds;
  #parts = {};

  /* `actions`: open, close, person, otherLocale, reconnect, addFiles; `menu`: the entries; `body`: what stands below the
     header. */
  constructor(context, actions, menu, body) {
    this.#context = context;
    this.#actions = actions;
    this.#menu = new Menu(menu);
    const parts = this.#parts;
    parts.badge = make("span", { class: "kefu-badge", hidden: true, "aria-hidden": "true" });
    this.launcher = make("button", { type: "button", class: "kefu-launcher", "aria-haspopup": "dialog", onclick: actions.open }, icon("chat"), parts.badge);
    parts.notice = make("p", { class: "kefu-notice", role: "note", hidden: true });
    parts.stateText = make("span");
    parts.stateRetry = make("button", { type: "button", class: "kefu-link", onclick: actions.reconnect });
    parts.state = make("div", { class: "kefu-state", role: "status", hidden: true }, parts.stateText, parts.stateRetry);
    parts.alert = make("div", { class: "kefu-hidden", role: "alert" });
    parts.drop = make("div", { class: "kefu-drop", hidden: true, "aria-hidden": "true" });
    this.element = make("section", { class: "kefu-panel", role: "dialog", hidden: true, onkeydown: (event) => this.#key(event) },
      this.#header(), parts.notice, ...body(parts.state), parts.alert, parts.drop);
    this.#takeDrops();
    this.#clock = setInterval(() => this.#showHours(), LOOK_AT_THE_CLOCK_MS);
  }

  get isOpen() {
    return !this.element.hidden;
  }

  show(isOpen) {
    this.element.hidden = !isOpen;
    this.launcher.hidden = isOpen;
    this.#showHours();
  }

  destroy() {
    clearInterval(this.#clock);
    clearTimeout(this.#alertEnds);
  }

  relabel({ names, direction, disclosure, replyWithin }) {
    const { texts } = this.#context;
    const parts = this.#parts;
    for (const element of [this.element, this.launcher]) {
      // Inside the shadow root: a page that hides its other language's elements must not hide the chat.
      element.lang = this.#context.language() === "zh" ? "zh-CN" : "en";
      element.dir = direction;
    }
    this.element.setAttribute("aria-label", texts.chatWith(names.brand));
    parts.title.textContent = names.brand;
    parts.subtitle.textContent = names.assistant === names.brand ? texts.automated : `${names.assistant} · ${texts.automated}`;
    parts.avatar.replaceChildren(...this.#avatar(names.assistant));
    parts.disclosure.textContent = disclosure;
    parts.disclosure.hidden = !disclosure;
    parts.person.replaceChildren(icon("person"), texts.person);
    parts.person.title = replyWithin ? texts.replyWithin(replyWithin) : "";
    parts.language.replaceChildren(texts.language);
    parts.language.setAttribute("aria-label", texts.languageLabel);
    parts.language.lang = this.#context.language() === "zh" ? "en" : "zh-CN";
    parts.close.setAttribute("aria-label", texts.close);
    parts.close.title = texts.closeShort;
    parts.stateRetry.textContent = texts.retryNow;
    parts.drop.replaceChildren(icon("clip"), texts.drop);
    this.#menu.setTexts(texts);
    this.#showHours();
  }

  focusLanguage() {
    this.#parts.language.focus();
  }

  /* A line above the composer: no connection, not allowed, … */
  showState(state) {
    const { texts } = this.#context;
    const line = { offline: texts.offline, forbidden: texts.forbidden, outdated: texts.outdated, anonymous: texts.signIn }[state] ?? "";
    this.#parts.stateText.textContent = line;
    this.#parts.stateRetry.hidden = state !== "offline";
    this.#parts.state.hidden = !line;
  }

  showUnread(count) {
    const { texts } = this.#context;
    this.#parts.badge.hidden = count === 0;
    this.#parts.badge.textContent = count > 9 ? "9+" : String(count);
    this.launcher.setAttribute("aria-label", count ? texts.openUnread(count) : texts.open);
  }

  /* Say something to a screen reader at once. */
  announce(text) {
    this.#parts.alert.textContent = text;
    clearTimeout(this.#alertEnds);
    this.#alertEnds = setTimeout(() => (this.#parts.alert.textContent = ""), 4_000);
  }

  #header() {
    const parts = this.#parts;
    const actions = this.#actions;
    parts.avatar = make("span", { class: "kefu-avatar", "aria-hidden": "true" });
    parts.title = make("h2", { class: "kefu-title" });
    parts.subtitle = make("p", { class: "kefu-subtitle" });
    parts.disclosure = make("p", { class: "kefu-disclosure" });
    parts.person = make("button", { type: "button", class: "kefu-person", onclick: actions.person });
    parts.language = make("button", { type: "button", class: "kefu-tool", onclick: actions.otherLocale });
    parts.close = make("button", { type: "button", class: "kefu-tool", onclick: actions.close }, icon("close"));
    return make("div", { class: "kefu-header" },
      make("div", { class: "kefu-header-row" },
        parts.avatar,
        make("div", { class: "kefu-names" }, parts.title, parts.subtitle),
        parts.language, this.#menu.element, parts.close),
      make("div", { class: "kefu-header-row kefu-header-foot" }, parts.disclosure, parts.person));
  }

  #avatar(name) {
    const url = this.#context.brand().avatar;
    const [image] = url ? picture(url, "", this.#context) : [];
    return image ? [image] : [[...name][0] ?? ""];
  }

  #showHours() {
    const { texts, brand, language, locale } = this.#context;
    const { hours } = brand();
    const closed = closedAt(hours);
    this.#parts.notice.hidden = !closed;
    if (!closed) return;
    const when = closed.opens ? momentLabel(closed.opens, locale()) : "";
    const own = localized(hours.closed_text, language());
    this.#parts.notice.replaceChildren(icon("clock"), make("span", { dir: "auto" }, own ? own.replaceAll("{opens}", when) : texts.closed(when)));
  }

  // ---- keyboard ----

  #key(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.stopPropagation();
      this.#actions.close();
    } else if (event.key === "Tab") {
      this.#keepFocusInside(event);
    }
  }

  #keepFocusInside(event) {
    const all = [...this.element.querySelectorAll(FOCUSABLE)].filter((one) => one.getClientRects().length);
    const [first, last] = [all[0], all.at(-1)];
    const active = this.element.getRootNode().activeElement;
    if (event.shiftKey && active === first) last.focus();
    else if (!event.shiftKey && active === last) first.focus();
    else return;
    event.preventDefault();
  }

  // ---- files dropped onto the chat ----

  #takeDrops() {
    const { drop } = this.#parts;
    let depth = 0;
    const show = (isOver) => (drop.hidden = !isOver);
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && this.#actions.takesFiles();
    this.element.addEventListener("dragenter", (event) => {
      depth += 1;
      if (hasFiles(event)) show(true);
    });
    this.element.addEventListener("dragleave", () => {
      depth -= 1;
      if (depth <= 0) show(false);
    });
    this.element.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    this.element.addEventListener("drop", (event) => {
      depth = 0;
      show(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#actions.addFiles(event.dataTransfer.files);
    });
  }
}
