/* The chat as one element, <kefu-chat>, with everything inside its shadow root. Wires the session (what happens) to the
   panel (what is seen); nothing of the page's style comes in, nothing of ours goes out. */

import { Composer } from "./composer.js";
import { make } from "./elements.js";
import { icon } from "./icons.js";
import { MessageLog } from "./log.js";
import { Outbox } from "./outbox.js";
import { picture } from "./parts.js";
import { Session } from "./session.js";
import { Storage } from "./storage.js";
import { Tabs } from "./tabs.js";
import { localized, nearestLocale, textsFor, LOCALES } from "./texts.js";
import { themeProperties } from "./theme.js";

const NOT_SENT_AFTER_MS = 5_000;
const TYPING_FOR_MS = 15_000;
const BRAND_WITHIN_MS = 2_000;
const FOCUSABLE = 'a[href], button:not([disabled]), input:not([type="file"]), textarea, [tabindex="0"]';

/* Put the chat into the page; resolves to what window.Kefu calls. */
export async function mount(options, emit) {
  if (!customElements.get("kefu-chat")) customElements.define("kefu-chat", KefuChat);
  const chat = document.createElement("kefu-chat");
  await chat.start(options, emit);
  return chat.api;
}

class KefuChat extends HTMLElement {
  #options;
  #emitOut;
  #storage;
  #outbox;
  #tabs;
  #session;
  #log;
  #composer;
  #context;
  #locale;
  #brand = {};
  #isOpen = false;
  #unread = 0;
  #liveFrom = Infinity;
  #returnFocusTo = null;
  #timers = new Map();
  #theme = null;
  #parts = {};

  async start(options, emit) {
    this.#options = options;
    this.#emitOut = emit;
    this.#storage = new Storage(options.server);
    this.#locale = this.#firstLocale();
    this.#tabs = new Tabs(options.server);
    const outbox = Outbox.open(options.server, this.#storage);
    const [, brand] = await Promise.all([this.#loadStyles(), this.#loadBrand(), outbox]);
    this.#outbox = await outbox;
    this.#session = new Session({
      server: options.server,
      storage: this.#storage,
      outbox: this.#outbox,
      tabs: this.#tabs,
      language: this.#locale,
      identity: options.identity,
      emit: (name, detail) => this.#happened(name, detail),
    });
    await this.#session.load();
    this.#build();
    this.#useBrand(brand);
    document.body.append(this);
    // Who wrote before may have an answer waiting; who never wrote costs the server nothing until they open the chat.
    for (const item of this.#session.outbox) this.#log.addPending(item, item.isRefused ? "refused" : "sending");
    if (this.#session.visitor || this.#session.outbox.length) this.#session.connect();
    this.#emitOut("ready", {});
    if (options.opens) this.open();
  }

  get api() {
    return {
      open: () => this.open(),
      close: () => this.close(),
      toggle: () => (this.#isOpen ? this.close() : this.open()),
      send: (message) => this.#session.send(typeof message === "string" ? { text: message } : message),
      identify: (identity) => this.#session.identify(identity),
      setLocale: (locale) => this.setLocale(locale),
      destroy: () => this.destroy(),
    };
  }

  open() {
    if (this.#isOpen) return;
    this.#isOpen = true;
    // The page sees this element as the focused one; inside it, the launcher was.
    const before = document.activeElement;
    this.#returnFocusTo = before && before !== document.body && before !== this ? before : this.#parts.launcher;
    this.#parts.panel.hidden = false;
    this.#parts.launcher.hidden = true;
    this.#session.connect();
    this.#setUnread(0);
    this.#log.toBottom();
    this.#composer.focus();
    this.#emitOut("open", {});
  }

  close() {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#parts.panel.hidden = true;
    this.#parts.launcher.hidden = false;
    const target = this.#returnFocusTo?.isConnected ? this.#returnFocusTo : this.#parts.launcher;
    target.focus({ preventScroll: true });
    this.#emitOut("close", {});
  }

  setLocale(wish) {
    const locale = nearestLocale(wish);
    if (locale === this.#locale) return;
    this.#locale = locale;
    this.#storage.set("locale", { page: pageLocale(this.#options), choice: locale });
    this.#session.language = locale;
    this.#relabel();
    this.#log.render();
    this.#emitOut("locale", { locale });
  }

  destroy() {
    this.#session.disconnect();
    this.#tabs.close();
    this.#outbox.close();
    this.#log.destroy();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.remove();
  }

  // ---- what the session says ----

  #happened(name, detail) {
    const log = this.#log;
    switch (name) {
      case "welcome":
        this.#liveFrom = detail.last_seq;
        this.#useBrand(detail.brand);
        this.#composer.maxChars = detail.max_text_chars;
        if (detail.resume_from >= detail.last_seq) log.goLive();
        break;
      case "message":
        this.#received(detail);
        break;
      case "outgoing":
        log.addPending(detail);
        this.#expectSent(detail.id);
        break;
      case "sending":
        log.setStatus(detail.id, "sending");
        this.#expectSent(detail.id);
        break;
      case "sent":
        this.#stop(detail.id);
        log.setStatus(detail.id, "sent");
        break;
      case "failed":
        this.#stop(detail.item.id);
        log.setStatus(detail.item.id, "refused", detail.code === "too_long" ? this.#texts.tooLong : null);
        this.#announce(`${this.#texts.refused}: ${detail.item.title ?? detail.item.text ?? ""}`);
        break;
      case "discarded":
        this.#stop(detail.id);
        log.dropPending(detail.id);
        break;
      case "typing":
        this.#showTyping(detail.on);
        break;
      case "resync":
        log.clear();
        this.#liveFrom = detail.last_seq;
        if (detail.last_seq === 0) log.goLive();
        break;
      case "state":
        this.#showState(detail.state);
        break;
      default:
    }
    this.#emitOut(name, detail);
  }

  #received(frame) {
    const isNew = frame.seq > this.#liveFrom;
    if (isNew) this.#log.goLive();
    if (frame.client_msg_id) this.#stop(frame.client_msg_id);
    if (frame.author !== "customer") this.#showTyping(false);
    this.#log.addMessage(frame);
    // After the last entry of the history: everything that follows is news.
    if (frame.seq >= this.#liveFrom) requestAnimationFrame(() => this.#log.goLive());
    if (frame.author !== "customer" && !this.#isOpen && frame.seq > (this.#storage.get("read") ?? 0)) {
      this.#setUnread(this.#unread + 1);
    }
    if (this.#isOpen) this.#storage.set("read", frame.seq);
    this.#after("seen", 300, () => this.#session.seen(frame.seq));
  }

  /* Say that a message hangs before the customer wonders; it is still sent when it can be. */
  #expectSent(id) {
    this.#after(id, NOT_SENT_AFTER_MS, () => {
      this.#log.setStatus(id, "waiting");
      this.#announce(this.#texts.notSent);
    });
  }

  #showTyping(on) {
    this.#parts.typing.hidden = !on;
    this.#stop("typing");
    if (on) {
      this.#log.toBottomIfFollowing();
      this.#after("typing", TYPING_FOR_MS, () => this.#showTyping(false));
    }
  }

  #showState(state) {
    const texts = this.#texts;
    const line = { offline: texts.offline, forbidden: texts.forbidden, outdated: texts.outdated, anonymous: texts.signIn }[state] ?? "";
    this.#parts.stateText.textContent = line;
    this.#parts.stateRetry.hidden = state !== "offline";
    this.#parts.state.hidden = !line;
    this.dataset.state = state;
    if (state !== "online") this.#showTyping(false);
  }

  #setUnread(count) {
    this.#unread = count;
    this.#parts.badge.hidden = count === 0;
    this.#parts.badge.textContent = count > 9 ? "9+" : String(count);
    this.#parts.launcher.setAttribute("aria-label", count ? this.#texts.openUnread(count) : this.#texts.open);
  }

  #announce(text) {
    this.#parts.alert.textContent = text;
    this.#after("alert", 4_000, () => (this.#parts.alert.textContent = ""));
  }

  // ---- what is seen ----

  #build() {
    const names = () => this.#names;
    const choose = (choice) => {
      this.#session.send(choice);
      this.#composer.focus();
    };
    const context = {
      server: this.#options.server,
      names,
      choose,
      greeting: () => localized(this.#brand.greeting, this.#locale),
      locale: () => (this.#locale === "zh" ? "zh-CN" : "en-GB"),
      hint: ({ input }) => this.#composer.hint(input),
    };
    Object.defineProperty(context, "texts", { get: () => this.#texts });
    this.#context = context;
    // What was pressed goes; the keyboard's focus goes where one writes on.
    const andWrite = (then) => (value) => {
      then(value);
      this.#composer.focus();
    };
    this.#log = new MessageLog(context, andWrite((id) => this.#session.retry(id)), andWrite((id) => this.#session.discard(id)));
    this.#composer = new Composer(this.#texts, (text) => this.#session.send({ text }));
    const parts = this.#parts;
    parts.badge = make("span", { class: "kefu-badge", hidden: true, "aria-hidden": "true" });
    parts.launcher = make("button", { type: "button", class: "kefu-launcher", "aria-haspopup": "dialog", onclick: () => this.open() },
      icon("chat"), parts.badge);
    parts.typing = make("div", { class: "kefu-typing", hidden: true, "aria-hidden": "true" }, make("i"), make("i"), make("i"));
    this.#log.list.append(parts.typing);
    parts.stateText = make("span");
    parts.stateRetry = make("button", { type: "button", class: "kefu-link", onclick: () => this.#session.reconnect() });
    parts.state = make("div", { class: "kefu-state", role: "status", hidden: true }, parts.stateText, parts.stateRetry);
    parts.alert = make("div", { class: "kefu-hidden", role: "alert" });
    parts.panel = make("section", { class: "kefu-panel", role: "dialog", hidden: true, onkeydown: (event) => this.#key(event) },
      this.#header(), this.#log.element, parts.state, this.#composer.element, parts.alert);
    this.shadowRoot.append(parts.launcher, parts.panel);
    this.classList.toggle("kefu-left", this.#options.position === "left");
    this.#relabel();
  }

  #header() {
    const parts = this.#parts;
    parts.avatar = make("span", { class: "kefu-avatar", "aria-hidden": "true" });
    parts.title = make("h2", { class: "kefu-title", id: "kefu-title" });
    parts.subtitle = make("p", { class: "kefu-subtitle" });
    parts.disclosure = make("p", { class: "kefu-disclosure" });
    parts.person = make("button", { type: "button", class: "kefu-person", onclick: () => this.#askForPerson() });
    parts.language = make("button", { type: "button", class: "kefu-tool", onclick: () => this.#otherLocale() });
    parts.close = make("button", { type: "button", class: "kefu-tool", onclick: () => this.close() }, icon("close"));
    return make("header", { class: "kefu-header" },
      make("div", { class: "kefu-header-row" },
        parts.avatar,
        make("div", { class: "kefu-names" }, parts.title, parts.subtitle),
        parts.language, parts.close),
      make("div", { class: "kefu-header-row kefu-header-foot" }, parts.disclosure, parts.person));
  }

  #relabel() {
    const texts = this.#texts;
    const parts = this.#parts;
    const names = this.#names;
    // Inside the shadow root: a page that hides its other language's elements must not hide the chat.
    parts.panel.lang = parts.launcher.lang = this.#locale === "zh" ? "zh-CN" : "en";
    parts.panel.setAttribute("aria-label", texts.chatWith(names.brand));
    parts.title.textContent = names.brand;
    parts.subtitle.textContent = names.assistant === names.brand ? texts.automated : `${names.assistant} · ${texts.automated}`;
    parts.avatar.replaceChildren(...this.#avatar(names.assistant));
    parts.disclosure.textContent = this.#disclosure;
    parts.disclosure.hidden = !this.#disclosure;
    parts.person.replaceChildren(icon("person"), texts.person);
    const replyWithin = localized(this.#brand.reply_within, this.#locale);
    parts.person.title = replyWithin ? texts.replyWithin(replyWithin) : "";
    parts.language.replaceChildren(texts.language);
    parts.language.setAttribute("aria-label", texts.languageLabel);
    parts.language.lang = this.#locale === "zh" ? "en" : "zh-CN";
    parts.close.setAttribute("aria-label", texts.close);
    parts.close.title = texts.closeShort;
    parts.stateRetry.textContent = texts.retryNow;
    this.#composer.setTexts(texts);
    this.#setUnread(this.#unread);
    this.#showState(this.#session.state);
  }

  #key(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.stopPropagation();
      this.close();
    } else if (event.key === "Tab") {
      this.#keepFocusInside(event);
    }
  }

  #keepFocusInside(event) {
    const all = [...this.#parts.panel.querySelectorAll(FOCUSABLE)].filter((one) => one.offsetParent !== null);
    const [first, last] = [all[0], all.at(-1)];
    const active = this.shadowRoot.activeElement;
    if (event.shiftKey && active === first) last.focus();
    else if (!event.shiftKey && active === last) first.focus();
    else return;
    event.preventDefault();
  }

  #askForPerson() {
    this.#session.send({ payload: this.#options.handoffPayload, title: this.#texts.person });
    this.#composer.focus();
  }

  #otherLocale() {
    this.setLocale(LOCALES.find((locale) => locale !== this.#locale));
    this.#parts.language.focus();
  }

  // ---- brand, language, style ----

  get #texts() {
    return textsFor(this.#locale);
  }

  get #names() {
    const brand = this.#options.title || localized(this.#brand.name, this.#locale) || "Kefu";
    return { brand, assistant: localized(this.#brand.assistant_name, this.#locale) || brand };
  }

  get #disclosure() {
    const { disclosure } = this.#brand;
    return disclosure?.enabled ? localized(disclosure.text, this.#locale) : "";
  }

  #avatar(name) {
    const [image] = this.#brand.avatar ? picture(this.#brand.avatar, "", this.#context) : [];
    return image ? [image] : [[...name][0] ?? ""];
  }

  #useBrand(brand) {
    if (!brand || JSON.stringify(brand) === JSON.stringify(this.#brand)) return;
    this.#brand = brand;
    this.#storage.set("brand", brand);
    const properties = themeProperties(brand.colors);
    if (this.#theme) this.#theme.replaceSync(`:host{${properties.map(([name, value]) => `${name}:${value}`).join(";")}}`);
    else for (const [name, value] of properties) this.style.setProperty(name, value);
    this.#relabel();
    this.#log.render();
  }

  async #loadBrand() {
    try {
      const answer = await fetch(new URL("webchat/brand", this.#options.server), { signal: AbortSignal.timeout(BRAND_WITHIN_MS) });
      if (answer.ok) return (await answer.json()).brand;
    } catch {
      // Offline or slow: the colours of the last visit, and the socket's welcome brings the brand too.
    }
    return this.#storage.get("brand");
  }

  async #loadStyles() {
    const root = this.attachShadow({ mode: "open" });
    const url = new URL("widget.css", import.meta.url);
    if (!("adoptedStyleSheets" in root)) {
      const link = make("link", { rel: "stylesheet", href: url.href });
      root.append(link);
      return new Promise((resolve) => (link.onload = link.onerror = resolve));
    }
    const sheet = new CSSStyleSheet();
    this.#theme = new CSSStyleSheet();
    root.adoptedStyleSheets = [sheet, this.#theme];
    return sheet.replace(await (await fetch(url)).text());
  }

  #firstLocale() {
    const page = pageLocale(this.#options);
    const saved = this.#storage.get("locale");
    // The customer's choice holds while the page speaks the language it spoke then.
    return saved?.page === page && LOCALES.includes(saved.choice) ? saved.choice : page;
  }

  #after(name, ms, then) {
    this.#stop(name);
    this.#timers.set(name, setTimeout(then, ms));
  }

  #stop(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

function pageLocale(options) {
  return nearestLocale(options.lang, document.documentElement.lang, ...navigator.languages);
}
