/* The conversation with the server, without any page: one socket at a time, an outbox, resume. docs/webchat-protocol.md
   describes the frames. What the customer sent stays in the outbox until the server acknowledged it; one message is on its
   way at a time, so that they arrive in the order they were written. */

export const PROTOCOL = 1;

const ACK_WITHIN_MS = 10_000;
const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 8_000;
const HISTORY = 200;
const CLOSE_FORBIDDEN = 4403;
// What the server will never take, however often it is sent.
const HOPELESS = new Set(["bad_frame", "too_long", "frame_too_large", "refused"]);
const FATAL = new Set(["unsupported_protocol"]);

export class Session {
  #socket = null;
  #storage;
  #url;
  #emit;
  #identity;
  #language;
  #lastSeq = 0;
  #seen = 0;
  #attempts = 0;
  #timers = new Map();
  #outbox;
  #inFlight = null;
  #state = "idle";
  #wanted = false;
  #online = () => this.#retryNow();
  #offline = () => this.#drop();
  #visible = () => document.visibilityState === "visible" && this.#retryNow();

  constructor({ server, storage, language, identity, emit }) {
    const url = new URL("webchat/ws", server);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#url = url.href;
    this.#storage = storage;
    this.#language = language;
    this.#identity = identity;
    this.#emit = emit;
    this.#outbox = storage.all("out:").sort((a, b) => a.at - b.at || a.nth - b.nth);
  }

  get state() {
    return this.#state;
  }

  get visitor() {
    return this.#storage.get("visitor");
  }

  /* Messages the server has not acknowledged, oldest first. */
  get outbox() {
    return [...this.#outbox];
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
  send({ text, payload, title }) {
    const last = this.#outbox.at(-1);
    const item = { id: newId(), at: Date.now(), nth: (last?.nth ?? 0) + 1, text, payload, title, language: this.#language };
    this.#outbox.push(item);
    this.#storage.set(`out:${item.id}`, item);
    this.#emit("outgoing", item);
    this.connect();
    this.#flush();
    return item.id;
  }

  /* The customer pressed "retry": at once, whatever the waiting time was. */
  retry(id) {
    const item = this.#outbox.find((one) => one.id === id);
    if (!item) return;
    item.isRefused = false;
    this.#emit("sending", item);
    if (this.#state === "online") this.#flush();
    else this.#retryNow();
  }

  reconnect() {
    this.#retryNow();
  }

  seen(seq) {
    if (seq <= this.#seen || this.#state !== "online") return;
    this.#seen = seq;
    this.#write({ type: "seen", seq });
  }

  identify(identity) {
    this.#identity = identity;
    if (this.#state === "online") this.#write({ type: "identify", identity });
  }

  // ---- the socket ----

  #open() {
    if (!this.#wanted || this.#socket) return;
    this.#become(this.#attempts ? "offline" : "connecting");
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
    if (code === CLOSE_FORBIDDEN) {
      this.#refuse("forbidden");
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
    this.#inFlight = null;
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
        this.#settled(frame.client_msg_id);
        this.#emit("sent", { id: frame.client_msg_id, seq: frame.seq });
        this.#flush();
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
    if (this.visitor !== frame.visitor) this.#storage.set("visitor", frame.visitor);
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
    if (frame.client_msg_id) this.#settled(frame.client_msg_id);
    this.#emit("message", frame);
    this.#flush();
  }

  #failed(frame) {
    this.#emit("error", frame);
    if (FATAL.has(frame.code)) {
      this.#refuse("outdated");
      return;
    }
    const item = this.#outbox.find((one) => one.id === frame.client_msg_id);
    if (!item) return;
    if (this.#inFlight === item.id) {
      this.#inFlight = null;
      this.#stop("ack");
    }
    if (HOPELESS.has(frame.code)) {
      item.isRefused = true;
      this.#emit("failed", { item, code: frame.code });
      this.#flush();
      return;
    }
    this.#after("resend", (frame.retry_after_s ?? 2) * 1000, () => this.#flush());
  }

  #flush() {
    if (this.#state !== "online" || this.#inFlight || this.#timers.has("resend")) return;
    const item = this.#outbox.find((one) => !one.isRefused);
    if (!item) return;
    this.#inFlight = item.id;
    this.#emit("sending", item);
    const { id, text, payload, title, language } = item;
    this.#write({ type: "send", client_msg_id: id, text, payload, title, language });
    // A socket that takes frames and answers none is dead, whatever the browser thinks of it.
    this.#after("ack", ACK_WITHIN_MS, () => this.#drop());
  }

  #settled(id) {
    this.#outbox = this.#outbox.filter((item) => item.id !== id);
    this.#storage.remove(`out:${id}`);
    if (this.#inFlight !== id) return;
    this.#inFlight = null;
    this.#stop("ack");
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

function newId() {
  const random = crypto.getRandomValues(new Uint8Array(9));
  return `${Date.now().toString(36)}-${[...random].map((byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}
