/* The chat as one element, <kefu-chat>, with everything inside its shadow root. Wires the session (what happens) to the
   panel (what is seen); nothing of the page's style comes in, nothing of ours goes out. */

import { Attention } from "./attention.js";
import { Composer } from "./composer.js";
import { make } from "./elements.js";
import { feedbackForm, preChatForm } from "./forms.js";
import { MessageLog } from "./log.js";
import { Look } from "./look.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { Session } from "./session.js";
import { Storage } from "./storage.js";
import { Tabs } from "./tabs.js";
import { download, print, transcriptText } from "./transcript.js";
import { Uploads } from "./uploads.js";

const NOT_SENT_AFTER_MS = 5_000;
const TYPING_FOR_MS = 15_000;
const TITLE_CHARS = 190; // the server takes 200

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
  #look;
  #outbox;
  #tabs;
  #session;
  #attention;
  #uploads;
  #panel;
  #log;
  #composer;
  #typing;
  #footer;
  #form = null;
  #knowsHistory = false;
  #hasHistory = false;
  #isPreChatDone = false;
  #visit = {};
  #toldVisit = null;
  #liveFrom = Infinity;
  #lastSeq = 0;
  #returnFocusTo = null;
  #timers = new Map();
  #looked = () => this.#isLookedAt && this.#attention.read(this.#lastSeq);

  async start(options, emit) {
    this.#options = options;
    this.#emitOut = emit;
    this.#storage = new Storage(options.server);
    this.#tabs = new Tabs(options.server);
    this.#look = new Look(this, options, this.#storage);
    const root = this.attachShadow({ mode: "open" });
    const started = [this.#look.loadBrand(), Outbox.open(options.server, this.#storage), this.#look.loadStyles(root)];
    const [brand, outbox] = await Promise.all(started);
    this.#outbox = outbox;
    this.#attention = new Attention(this.#storage, this.#tabs, (count) => this.#showUnread(count));
    this.#session = new Session({
      server: options.server,
      storage: this.#storage,
      outbox,
      tabs: this.#tabs,
      language: this.#look.language,
      identity: options.identity,
      emit: (name, detail) => this.#happened(name, detail),
    });
    await this.#session.load();
    this.#build();
    this.#useBrand(brand);
    document.body.append(this);
    document.addEventListener("visibilitychange", this.#looked);
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
      toggle: () => (this.#panel.isOpen ? this.close() : this.open()),
      send: (message) => this.#send(typeof message === "string" ? { text: message } : message),
      identify: (identity) => this.#session.identify(identity),
      setContext: (context) => this.setContext(context),
      setLocale: (locale) => this.setLocale(locale),
      destroy: () => this.destroy(),
    };
  }

  open() {
    if (this.#panel.isOpen) return;
    // The page sees this element as the focused one; inside it, the launcher was.
    const before = document.activeElement;
    this.#returnFocusTo = before && before !== document.body && before !== this ? before : this.#panel.launcher;
    this.#panel.show(true);
    this.#session.connect();
    this.#attention.read(this.#lastSeq);
    this.#showForm();
    this.#log.toBottom();
    this.#focusFooter();
    this.#emitOut("open", {});
  }

  close() {
    if (!this.#panel.isOpen) return;
    this.#panel.show(false);
    if (this.#form?.classList.contains("kefu-feedback")) this.#useForm(null);
    const target = this.#returnFocusTo?.isConnected ? this.#returnFocusTo : this.#panel.launcher;
    target.focus({ preventScroll: true });
    this.#emitOut("close", {});
  }

  /* What the page knows about this visit; it goes along with the next message. null takes a value back. */
  setContext(context) {
    this.#visit = Object.fromEntries(Object.entries({ ...this.#visit, ...context }).filter(([, value]) => value !== null && value !== undefined));
  }

  /* Another customer at the same page: what the one before told, wrote or uploaded is not theirs. */
  #forgetCustomer() {
    this.#visit = {};
    this.#toldVisit = null;
    this.#isPreChatDone = false;
    this.#uploads?.clear();
    this.#composer?.clear();
  }

  setLocale(wish) {
    if (!this.#look.speak(wish)) return;
    this.#session.language = this.#look.language;
    this.#relabel();
    this.#log.render();
    this.#emitOut("locale", { locale: this.#look.language });
  }

  destroy() {
    document.removeEventListener("visibilitychange", this.#looked);
    this.#session.disconnect();
    for (const part of [this.#uploads, this.#attention, this.#panel, this.#log]) part.destroy();
    this.#tabs.close();
    this.#outbox.close();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.remove();
  }

  // ---- what the session says ----

  #happened(name, detail) {
    this.#handlers[name]?.(detail);
    this.#emitOut(name, detail);
  }

  #handlers = {
    welcome: (welcome) => this.#welcomed(welcome),
    message: (frame) => this.#received(frame),
    outgoing: (item) => {
      this.#log.addPending(item);
      this.#expectSent(item.id);
      this.#showForm();
    },
    sending: ({ id }) => {
      this.#log.setStatus(id, "sending");
      this.#expectSent(id);
    },
    sent: ({ id }) => {
      this.#stop(id);
      this.#log.setStatus(id, "sent");
    },
    failed: ({ item, code }) => {
      this.#stop(item.id);
      this.#log.setStatus(item.id, "refused", code === "too_long" ? this.#texts.tooLong : null);
      this.#panel.announce(`${this.#texts.refused}: ${item.title ?? item.text ?? ""}`);
    },
    discarded: ({ id }) => {
      this.#stop(id);
      this.#log.dropPending(id);
    },
    typing: ({ on }) => this.#showTyping(on),
    forgotten: () => this.#forgetCustomer(),
    resync: ({ last_seq }) => {
      this.#log.clear();
      this.#lastSeq = 0;
      this.#hasHistory = last_seq > 0;
      this.#liveFrom = last_seq;
      if (last_seq === 0) this.#log.goLive();
    },
    state: ({ state }) => {
      this.#panel.showState(state);
      this.dataset.state = state;
      if (state !== "online") this.#showTyping(false);
    },
  };

  #welcomed(welcome) {
    this.#liveFrom = welcome.last_seq;
    this.#knowsHistory = true;
    this.#hasHistory = welcome.last_seq > 0;
    this.#useBrand(welcome.brand);
    this.#composer.maxChars = welcome.max_text_chars;
    this.#uploads.limits = welcome.uploads;
    if ((this.#storage.get("read") ?? 0) > welcome.last_seq) this.#attention.forget();
    if (welcome.resume_from >= welcome.last_seq) this.#log.goLive();
    this.#showForm();
  }

  #received(frame) {
    const isNew = frame.seq > this.#liveFrom;
    this.#lastSeq = Math.max(this.#lastSeq, frame.seq);
    if (isNew) this.#log.goLive();
    if (frame.client_msg_id) this.#stop(frame.client_msg_id);
    if (frame.author !== "customer") this.#showTyping(Boolean(frame.more));
    this.#log.addMessage(frame);
    this.#showForm();
    // After the last entry of the history: everything that follows is news.
    if (frame.seq >= this.#liveFrom) requestAnimationFrame(() => this.#log.goLive());
    if (this.#isLookedAt) this.#attention.read(frame.seq);
    else if (frame.author !== "customer" && !frame.continues) this.#attention.missed(frame.seq, isNew);
    this.#after("seen", 300, () => this.#session.seen(frame.seq));
  }

  get #isLookedAt() {
    return this.#panel.isOpen && document.visibilityState === "visible";
  }

  #showUnread(count) {
    this.#panel.showUnread(count);
    this.#emitOut("unread", { count });
  }

  /* Say that a message hangs before the customer wonders; it is still sent when it can be. */
  #expectSent(id) {
    this.#after(id, NOT_SENT_AFTER_MS, () => {
      this.#log.setStatus(id, "waiting");
      this.#panel.announce(this.#texts.notSent);
    });
  }

  #showTyping(on) {
    this.#typing.hidden = !on;
    this.#stop("typing");
    if (on) {
      this.#log.toBottomIfFollowing();
      this.#after("typing", TYPING_FOR_MS, () => this.#showTyping(false));
    }
  }

  // ---- what the customer does ----

  #send({ text, payload, title, attachments }) {
    const context = JSON.stringify(this.#visit) === this.#toldVisit ? undefined : this.#visit;
    this.#toldVisit = JSON.stringify(this.#visit);
    const isTold = context && Object.keys(context).length > 0;
    return this.#session.send({ text, payload, title, attachments, context: isTold ? context : undefined });
  }

  #sayTyped(text, files) {
    const attachments = files.length ? files : undefined;
    this.#send({ text, attachments });
  }

  #askForPerson() {
    this.#send({ payload: this.#options.handoffPayload, title: this.#texts.person });
    this.#composer.focus();
  }

  #otherLocale() {
    this.setLocale(this.#look.otherLanguage);
    this.#panel.focusLanguage();
  }

  #saveTranscript() {
    const texts = this.#texts;
    const { brand, assistant } = this.#look.names;
    const names = { customer: texts.you, bot: assistant, operator: texts.operator };
    const text = transcriptText(this.#log.entries, { heading: texts.transcriptOf(brand), names, locale: this.#look.locale });
    download(`${texts.transcriptOf(brand)} ${new Date().toISOString().slice(0, 10)}.txt`, text);
    this.#panel.announce(texts.saved);
  }

  // ---- forms in the composer's place ----

  /* The form before the chat, as long as nothing was said and nobody signed in. */
  #showForm() {
    if (this.#form?.classList.contains("kefu-feedback")) return;
    const { pre_chat } = this.#look.brand;
    const hasBegun = this.#hasHistory || this.#session.hasBegun || this.#session.hasIdentity || this.#isPreChatDone;
    const isKnown = this.#knowsHistory || !this.#session.visitor;
    if (!pre_chat || hasBegun || !isKnown) {
      if (this.#form) this.#useForm(null);
    } else if (!this.#form) {
      this.#useForm(preChatForm(pre_chat, this.#look, (answers) => {
        this.#isPreChatDone = true;
        this.setContext(answers);
        this.#useForm(null);
        this.#composer.focus();
      }));
    }
  }

  /* In another language, with what was typed already. */
  #showFormAgain() {
    const typed = [...(this.#form?.querySelectorAll(".kefu-field") ?? [])].map(({ value }) => value);
    this.#useForm(null);
    this.#showForm();
    for (const [index, field] of [...(this.#form?.querySelectorAll(".kefu-field") ?? [])].entries()) field.value = typed[index] ?? "";
  }

  #askForFeedback() {
    const { csat } = this.#look.brand;
    this.#useForm(feedbackForm(csat, this.#look, (answer) => {
      if (answer) {
        const slots = { rating: String(answer.rating), ...(answer.comment ? { comment: answer.comment } : {}) };
        const title = [`${this.#texts.rating}: ${this.#texts.stars(answer.rating, csat.max)}`, answer.comment].filter(Boolean).join(" – ");
        this.#send({ payload: `/${csat.intent}${JSON.stringify(slots)}`, title: [...title].slice(0, TITLE_CHARS).join("") });
      }
      this.close();
    }));
    this.#focusFooter();
  }

  #useForm(form) {
    const hadFocus = this.#form?.contains(this.shadowRoot.activeElement);
    this.#form?.remove();
    this.#form = form;
    this.#composer.element.hidden = form !== null;
    if (form) this.#footer.append(form);
    if (hadFocus) this.#focusFooter();
  }

  #focusFooter() {
    if (this.#form) this.#form.querySelector("input, textarea").focus({ preventScroll: true });
    else this.#composer.focus();
  }

  // ---- what is seen ----

  #build() {
    const context = this.#context;
    context.server = this.#options.server;
    // What was pressed goes; the keyboard's focus goes where one writes on.
    const andWrite = (then) => (value) => {
      then(value);
      this.#composer.focus();
    };
    context.choose = andWrite((choice) => this.#send(choice));
    context.hint = ({ input }) => this.#composer.hint(input);
    this.#uploads = new Uploads(context, {
      visitor: () => this.#session.visitor,
      onChange: () => this.#composer?.update(),
      announce: (text) => this.#panel.announce(text),
    });
    this.#composer = new Composer(this.#texts, this.#uploads, (text, files) => this.#sayTyped(text, files));
    this.#log = new MessageLog(context, andWrite((id) => this.#session.retry(id)), andWrite((id) => this.#session.discard(id)));
    this.#typing = make("div", { class: "kefu-typing", hidden: true, "aria-hidden": "true" }, make("i"), make("i"), make("i"));
    this.#log.list.append(this.#typing);
    this.#footer = make("div", { class: "kefu-footer" }, this.#composer.element);
    this.#panel = new Panel(context, this.#actions, this.#menu, (state) => [this.#log.element, state, this.#footer]);
    this.shadowRoot.append(this.#panel.launcher, this.#panel.element);
    for (const gesture of ["pointerdown", "keydown"]) this.shadowRoot.addEventListener(gesture, () => this.#attention.wake());
    this.classList.toggle("kefu-left", this.#options.position === "left");
    this.#relabel();
  }

  get #actions() {
    return {
      open: () => this.open(),
      close: () => this.close(),
      person: () => this.#askForPerson(),
      otherLocale: () => this.#otherLocale(),
      reconnect: () => this.#session.reconnect(),
      takesFiles: () => this.#uploads.isOn && !this.#form,
      addFiles: (files) => this.#uploads.add(files),
    };
  }

  get #menu() {
    const hasEntries = () => this.#log.entries.length > 0;
    return [
      { icon: "sound", label: ({ sound }) => sound, isChecked: () => this.#attention.isSoundOn, choose: () => this.#attention.toggleSound() },
      { icon: "download", label: ({ save }) => save, isShown: hasEntries, choose: () => this.#saveTranscript() },
      { icon: "print", label: (texts) => texts.print, isShown: hasEntries, choose: () => print(this) },
      { icon: "done", label: ({ end }) => end, isShown: () => Boolean(this.#look.brand.csat) && hasEntries(), choose: () => this.#askForFeedback() },
    ];
  }

  /* What the parts of the widget ask: the words, the brand, the language of now. */
  #context = Object.defineProperty(
    {
      names: () => this.#look.names,
      brand: () => this.#look.brand,
      greeting: () => this.#look.words(this.#look.brand.greeting),
      language: () => this.#look.language,
      locale: () => this.#look.locale,
    },
    "texts",
    { get: () => this.#texts },
  );

  get #texts() {
    return this.#look.texts;
  }

  #useBrand(brand) {
    if (!this.#look.use(brand)) return;
    this.#relabel();
    this.#log.render();
  }

  #relabel() {
    const { direction } = this.#look;
    this.dir = direction;
    this.#panel.relabel({
      names: this.#look.names,
      direction,
      disclosure: this.#look.disclosure,
      replyWithin: this.#look.words(this.#look.brand.reply_within),
    });
    this.#composer.setTexts(this.#texts);
    this.#panel.showUnread(this.#attention.unread);
    this.#panel.showState(this.#session.state);
    this.#showFormAgain();
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
