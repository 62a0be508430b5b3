/* The conversation with the server, without any page: one socket at a time, an outbox, resume. docs/webchat-protocol.md
   describes the frames. What the customer sent stays in the outbox until the server acknowledged it; one message is on its
   way at a time, over all tabs of the browser, so that they arrive in the order they were written. */

import { subjectOf } from "./identity.js";

export const PROTOCOL = 1;

const ACK_WITHIN_MS = 10_000;
const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 8_000;
const HISTORY = 200;
const CLOSE_ANONYMOUS = 4401;
const CLOSE_FORBIDDEN = 4403;
// What the server will never take, however often it is sent.
const HOPELESS = new Set(["bad_frame", "too_long", "frame_too_large", "refused"]);
// Errors after which there is no socket, and the state they leave behind.
const FATAL = { unsupported_protocol: "outdated", identity_required: "anonymous" };
const REFUSED = new Set(["outdated", "anonymous", "forbidden"]);

export class Session {
  #socket = null;
  #storage;
  #outbox;
  #tabs;
  #url;
  #emit;
  #identity;
  #language;
  #lastSeq = 0;
  #seen = 0;
  #attempts = 0;
  #timers = new Map();
  #waiting = [];
  #settled = new Set();
  #unkept = new Set();
  #inFlight = null;
  #isFlushing = false;
  #isDialling = false;
  #state = "idle";
  #wanted = false;
  #online = () => this.#retryNow();
  #offline = () => this.#drop();
  #visible = () => document.visibilityState === "visible" && this.#retryNow();

  constructor({ server, storage, outbox, tabs, language, identity, emit }) {
    const url = new URL("webchat/ws", server);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#url = url.href;
    this.#storage = storage;
    this.#outbox = outbox;
    this.#tabs = tabs;
    this.#language = language;
    this.#identity = identity;
    this.#emit = emit;
    tabs.listen((news) => this.#heard(news));
  }

  /* Read what an earlier page, or another tab, left unsent. */
  async load() {
    this.#waiting = (await this.#outbox.all()).filter((item) => this.#isOurs(item));
  }

  get state() {
    return this.#state;
  }

  get visitor() {
    return this.#storage.get("visitor");
  }

  /* Whether anything was said yet, as far as this page knows. */
  get hasBegun() {
    return this.#lastSeq > 0 || this.#waiting.length > 0;
  }

  get hasIdentity() {
    return Boolean(this.#identity);
  }

  /* Messages the server has not acknowledged, oldest first. */
  get outbox() {
    return [...this.#waiting];
  }

  set language(value) {
    this.#language = value;
  }

  connect() {
    if (this.#wanted) return;
    this.#wanted = true;
    window.addEventListener("online", this.#online);
    window.addEventListener("offline", this.#offline);
    document.addEventListener("visibilitychange", this.#visible);
    this.#open();
  }

  disconnect() {
    this.#wanted = false;
    window.removeEventListener("online", this.#online);
    window.removeEventListener("offline", this.#offline);
    document.removeEventListener("visibilitychange", this.#visible);
    this.#forget();
    this.#become("idle");
  }

  /* Keep a message until it is acknowledged, and send it as soon as it can be. */
  send({ text, payload, title, attachments, context }) {
    const nth = (this.#waiting.at(-1)?.nth ?? 0) + 1;
    const owner = subjectOf(this.#identity ?? "");
    const said = { text, payload, title, attachments, context, language: this.#language };
    const item = { id: newId(), at: Date.now(), nth, owner, ...said };
    this.#waiting.push(item);
    this.#keep(item).then(() => this.#tabs.tell("queued", { item }));
    this.#emit("outgoing", item);
    if (!REFUSED.has(this.#state)) this.connect();
    this.#flush();
    return item.id;
  }

  /* The customer pressed "retry": at once, whatever the waiting time was. */
  retry(id) {
    const item = this.#find(id);
    if (!item) return;
    item.isRefused = false;
    this.#keep(item);
    this.#emit("sending", item);
    if (this.#state === "online") this.#flush();
    else this.#retryNow();
  }

  /* Give up a message that was refused. */
  discard(id) {
    this.#drained(id);
    this.#tabs.tell("discarded", { id });
    this.#emit("discarded", { id });
  }

  reconnect() {
    this.#retryNow();
  }

  seen(seq) {
    if (seq <= this.#seen || this.#state !== "online") return;
    this.#seen = seq;
    this.#write({ type: "seen", seq });
  }

  /* The shop's token for its customer; null when they signed out: then nothing of them stays in this browser. */
  identify(identity) {
    const isSame = subjectOf(identity ?? "") === subjectOf(this.#identity ?? "");
    this.#identity = identity ?? undefined;
    if (!identity) this.#storage.remove("visitor");
    const isAnother = !isSame && (this.#isBound || this.#state === "anonymous");
    if (!identity || isAnother) this.#startOver();
    else if (this.#state === "anonymous") this.connect();
    else if (this.#state === "online") this.#write({ type: "identify", identity });
  }

  // ---- the socket ----

  /* Another customer, as far as the server is concerned: nothing of the one before may stay on the screen. */
  async #startOver() {
    const wasWanted = this.#wanted || this.#state === "anonymous";
    this.disconnect();
    this.#lastSeq = this.#seen = this.#attempts = 0;
    this.#emit("resync", { last_seq: 0 });
    for (const item of this.#waiting) this.#emit("discarded", { id: item.id });
    await this.load();
    for (const item of this.#waiting) this.#emit("outgoing", item);
    if (wasWanted) this.connect();
  }

  #open() {
    if (!this.#wanted || this.#socket || this.#isDialling) return;
    this.#become(this.#attempts ? "offline" : "connecting");
    if (this.visitor) {
      this.#dial();
      return;
    }
    // Two tabs that a new visitor opens at once must not become two visitors.
    this.#isDialling = true;
    this.#tabs.exclusively("visitor", () => {
      this.#isDialling = false;
      if (!this.#wanted || this.#socket) return null;
      this.#dial();
      return this.visitor ? null : new Promise((done) => (this.#firstWelcome = done));
    });
  }

  #firstWelcome = () => {};
  // Whether the server ties the conversation to the identity: then another customer is another conversation.
  #isBound = false;

  #dial() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#after("welcome", ACK_WITHIN_MS, () => this.#drop());
    socket.onopen = () => {
      const hello = { type: "hello", protocol: PROTOCOL, resume_from: this.#lastSeq, history: HISTORY };
      this.#write({ ...hello, visitor: this.visitor, language: this.#language, identity: this.#identity });
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#read(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#lost(event.code);
    };
  }

  #drop() {
    if (this.#socket) this.#lost(0);
  }

  #lost(code) {
    this.#forget();
    if (!this.#wanted) return;
    if (code === CLOSE_FORBIDDEN || code === CLOSE_ANONYMOUS) {
      this.#refuse(code === CLOSE_FORBIDDEN ? "forbidden" : "anonymous");
      return;
    }
    this.#become("offline");
    // Half fixed, half random: a thousand customers do not come back in the same instant after a restart.
    const wait = Math.min(500 * 2 ** this.#attempts, 20_000);
    this.#attempts += 1;
    this.#after("reconnect", wait / 2 + (Math.random() * wait) / 2, () => this.#open());
  }

  #refuse(state) {
    this.disconnect();
    this.#become(state);
  }

  #retryNow() {
    if (!this.#wanted || this.#socket) return;
    this.#stop("reconnect");
    this.#open();
  }

  #forget() {
    const socket = this.#socket;
    this.#socket = null;
    this.#firstWelcome();
    this.#landed();
    for (const name of [...this.#timers.keys()]) this.#stop(name);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #write(frame) {
    this.#socket?.send(JSON.stringify(frame, (_, value) => value ?? undefined));
  }

  // ---- frames ----

  #read(frame) {
    this.#stop("pong");
    switch (frame.type) {
      case "welcome":
        this.#welcomed(frame);
        break;
      case "message":
        this.#received(frame);
        break;
      case "ack":
        this.#acknowledged(frame.client_msg_id, frame.seq);
        break;
      case "typing":
        this.#emit("typing", { on: frame.on });
        break;
      case "resync":
        this.#lastSeq = this.#seen = 0;
        this.#emit("resync", frame);
        break;
      case "error":
        this.#failed(frame);
        break;
      default: // pong, and what a newer server may add
    }
  }

  #welcomed(frame) {
    this.#stop("welcome");
    this.#attempts = 0;
    this.#isBound = Boolean(frame.bound);
    if (this.visitor !== frame.visitor) this.#storage.set("visitor", frame.visitor);
    this.#firstWelcome();
    this.#lastSeq = Math.max(this.#lastSeq, frame.resume_from);
    this.#become("online");
    this.#emit("welcome", frame);
    this.#pingLater();
    this.#flush();
  }

  #received(frame) {
    if (frame.seq <= this.#lastSeq) return;
    this.#lastSeq = frame.seq;
    // Another tab of this visitor may have sent what waits here.
    if (frame.client_msg_id) this.#drained(frame.client_msg_id);
    this.#emit("message", frame);
    this.#flush();
  }

  #acknowledged(id, seq) {
    this.#drained(id);
    this.#tabs.tell("sent", { id, seq });
    this.#emit("sent", { id, seq });
    this.#flush();
  }

  #failed(frame) {
    // First, so that a listener that has a remedy finds the state it is for.
    if (FATAL[frame.code]) this.#refuse(FATAL[frame.code]);
    this.#emit("error", frame);
    if (FATAL[frame.code]) return;
    const item = this.#find(frame.client_msg_id);
    if (!item) return;
    if (HOPELESS.has(frame.code)) {
      item.isRefused = true;
      this.#keep(item);
      this.#tabs.tell("refused", { id: item.id, code: frame.code });
      this.#emit("failed", { item, code: frame.code });
    } else {
      this.#after("resend", (frame.retry_after_s ?? 2) * 1000, () => this.#flush());
    }
    if (this.#inFlight?.id === item.id) this.#landed();
    this.#flush();
  }

  // ---- the outbox ----

  /* Send what waits, one after the other, while no other tab of this browser sends. */
  async #flush() {
    if (this.#isFlushing || !this.#next) return;
    this.#isFlushing = true;
    await this.#tabs.exclusively("send", async () => {
      for (let item = this.#next; item; item = this.#next) await this.#deliver(item);
    });
    this.#isFlushing = false;
    // What was written between the last look and the end of the lock.
    if (this.#next) this.#flush();
  }

  get #next() {
    if (this.#state !== "online" || this.#timers.has("resend")) return null;
    return this.#waiting.find((one) => !one.isRefused) ?? null;
  }

  /* Resolves when the item was acknowledged or refused, or when the socket is gone. */
  async #deliver(item) {
    // Another tab sent it while this one waited for its turn.
    if (!this.#unkept.has(item.id) && !(await this.#outbox.get(item.id))) {
      this.#drained(item.id);
      this.#emit("sent", { id: item.id });
    }
    if (this.#next !== item) return;
    this.#emit("sending", item);
    const { id, text, payload, title, attachments, context, language } = item;
    const files = attachments?.map((one) => one.id);
    await new Promise((landed) => {
      this.#inFlight = { id, landed };
      this.#write({ type: "send", client_msg_id: id, text, payload, title, attachments: files, context, language });
      // A socket that takes frames and answers none is dead, whatever the browser thinks of it.
      this.#after("ack", ACK_WITHIN_MS, () => this.#drop());
    });
  }

  #landed() {
    this.#stop("ack");
    this.#inFlight?.landed();
    this.#inFlight = null;
  }

  #drained(id) {
    this.#waiting = this.#waiting.filter((item) => item.id !== id);
    this.#settled.add(id);
    this.#outbox.remove(id).catch(complain);
    if (this.#inFlight?.id === id) this.#landed();
  }

  /* What another tab says. */
  #heard({ kind, id, item, seq, code }) {
    const known = this.#find(id ?? item?.id);
    if (kind === "queued" && !known && !this.#settled.has(item.id) && this.#isOurs(item)) {
      this.#waiting.push(item);
      this.#emit("outgoing", item);
      this.#flush();
    } else if (kind === "sent" && known) {
      this.#drained(id);
      this.#emit("sent", { id, seq });
    } else if (kind === "refused" && known) {
      known.isRefused = true;
      this.#emit("failed", { item: known, code });
    } else if (kind === "discarded" && known) {
      this.#drained(id);
      this.#emit("discarded", { id });
    }
  }

  #isOurs(item) {
    return !item.owner || item.owner === subjectOf(this.#identity ?? "");
  }

  #find(id) {
    return this.#waiting.find((item) => item.id === id) ?? null;
  }

  async #keep(item) {
    this.#unkept.add(item.id);
    try {
      await this.#outbox.put(item);
      this.#unkept.delete(item.id);
    } catch (error) {
      // A full disk: the message is still in memory and is sent while the page is open.
      complain(error);
    }
  }

  #pingLater() {
    this.#after("ping", PING_EVERY_MS, () => {
      this.#write({ type: "ping" });
      this.#after("pong", PONG_WITHIN_MS, () => this.#drop());
      this.#pingLater();
    });
  }

  // ---- small things ----

  #become(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  #after(name, ms, then) {
    this.#stop(name);
    this.#timers.set(
      name,
      setTimeout(() => {
        this.#timers.delete(name);
        then();
      }, ms),
    );
  }

  #stop(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

function complain(error) {
  console.warn("Kefu: the browser's storage failed", error);
}

function newId() {
  const random = crypto.getRandomValues(new Uint8Array(9));
  return `${Date.now().toString(36)}-${[...random].map((byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}
