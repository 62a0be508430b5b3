/* The conversation with the server, without any page: one socket at a time, resume, and the outbox behind it (sending.js).
   docs/webchat-protocol.md describes the frames. */

import { subjectOf } from "./identity.js";
import { Sending } from "./sending.js";

export const PROTOCOL = 1;

const WELCOME_WITHIN_MS = 10_000;
const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 8_000;
const HISTORY = 200;
const CLOSE_ANONYMOUS = 4401;
const CLOSE_FORBIDDEN = 4403;
// Errors after which there is no socket, and the state they leave behind.
const FATAL = { unsupported_protocol: "outdated", identity_required: "anonymous" };
const REFUSED = new Set(["outdated", "anonymous", "forbidden"]);

export class Session {
  #socket = null;
  #storage;
  #tabs;
  #sending;
  #url;
  #emit;
  #identity;
  #language;
  #lastSeq = 0;
  #seen = 0;
  #attempts = 0;
  #timers = new Map();
  #state = "idle";
  #wanted = false;
  #isDialling = false;
  #firstWelcome = () => {};
  // Whether the server ties the conversation to the identity: then another customer is another conversation.
  #isBound = false;
  #online = () => this.reconnect();
  #offline = () => this.#drop();
  #visible = () => document.visibilityState === "visible" && this.reconnect();

  constructor({ server, storage, outbox, tabs, language, identity, emit }) {
    const url = new URL("webchat/ws", server);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#url = url.href;
    this.#storage = storage;
    this.#tabs = tabs;
    this.#language = language;
    this.#identity = identity;
    this.#emit = emit;
    const socket = {
      isOpen: () => this.#state === "online",
      write: (frame) => this.#write(frame),
      drop: () => this.#drop(),
      identity: () => this.#identity,
    };
    this.#sending = new Sending({ outbox, tabs, socket, emit });
  }

  load() {
    return this.#sending.load();
  }

  get state() {
    return this.#state;
  }

  get visitor() {
    return this.#storage.get("visitor");
  }

  /* Whether anything was said yet, as far as this page knows. */
  get hasBegun() {
    return this.#lastSeq > 0 || this.outbox.length > 0;
  }

  get hasIdentity() {
    return Boolean(this.#identity);
  }

  /* Messages the server has not acknowledged, oldest first. */
  get outbox() {
    return this.#sending.items;
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
    const item = this.#sending.add({ text, payload, title, attachments, context, language: this.#language });
    if (!REFUSED.has(this.#state)) this.connect();
    this.#sending.flush();
    return item.id;
  }

  /* The customer pressed "retry": at once, whatever the waiting time was. */
  retry(id) {
    if (!this.#sending.retry(id)) return;
    if (this.#state === "online") this.#sending.flush();
    else this.reconnect();
  }

  discard(id) {
    this.#sending.discard(id);
  }

  reconnect() {
    if (!this.#wanted || this.#socket) return;
    this.#stop("reconnect");
    this.#open();
  }

  seen(seq) {
    if (seq <= this.#seen || this.#state !== "online") return;
    this.#seen = seq;
    this.#write({ type: "seen", seq });
  }

  /* The shop's token for its customer; null when they signed out: then nothing of them stays in this browser. */
  identify(identity) {
    const isSame = subjectOf(identity ?? "") === subjectOf(this.#identity ?? "");
    const wasSignedIn = this.#identity !== undefined;
    this.#identity = identity ?? undefined;
    if (!identity) this.#storage.remove("visitor");
    const isAnother = !isSame && (this.#isBound || this.#state === "anonymous");
    if (!identity || isAnother) this.#startOver(wasSignedIn);
    else if (this.#state === "anonymous") this.connect();
    else if (this.#state === "online") this.#write({ type: "identify", identity });
  }

  /* Another customer, as far as the server is concerned: nothing of the one before may stay on the screen. */
  async #startOver(wasSignedIn) {
    const wasWanted = this.#wanted || this.#state === "anonymous";
    const before = this.outbox;
    this.disconnect();
    this.#lastSeq = this.#seen = this.#attempts = 0;
    if (wasSignedIn) this.#emit("forgotten", {});
    this.#emit("resync", { last_seq: 0 });
    for (const { id } of before) this.#emit("discarded", { id });
    await this.load();
    for (const item of this.outbox) this.#emit("outgoing", item);
    if (wasWanted) this.connect();
  }

  // ---- the socket ----

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

  #dial() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#after("welcome", WELCOME_WITHIN_MS, () => this.#drop());
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

  #forget() {
    const socket = this.#socket;
    this.#socket = null;
    this.#firstWelcome();
    this.#sending.stop();
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
        this.#sending.acknowledged(frame.client_msg_id, frame.seq);
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
    this.#sending.flush();
  }

  #received(frame) {
    if (frame.seq <= this.#lastSeq) return;
    this.#lastSeq = frame.seq;
    // Another tab of this visitor may have sent what waits here.
    if (frame.client_msg_id) this.#sending.drained(frame.client_msg_id);
    this.#emit("message", frame);
    this.#sending.flush();
  }

  #failed(frame) {
    // First, so that a listener that has a remedy finds the state it is for.
    if (FATAL[frame.code]) this.#refuse(FATAL[frame.code]);
    this.#emit("error", frame);
    if (!FATAL[frame.code]) this.#sending.failed(frame);
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
