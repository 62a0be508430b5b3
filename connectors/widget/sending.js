/* What waits to be sent, over all tabs of the browser: an item stays until the server acknowledged it, and one is on its
   way at a time, so that messages arrive in the order they were written. */

import { subjectOf } from "./identity.js";
import { byAge } from "./outbox.js";

const ACK_WITHIN_MS = 10_000;
const RESEND_AFTER_S = 2;
// What the server will never take, however often it is sent.
const HOPELESS = new Set(["bad_frame", "too_long", "frame_too_large", "refused"]);

export class Sending {
  #outbox;
  #tabs;
  #socket;
  #emit;
  #items = [];
  #settled = new Set();
  #unkept = new Set();
  #inFlight = null;
  #isFlushing = false;
  #silence = 0;
  #pause = 0;

  /* `socket`: {isOpen(), write(frame), drop(), identity()}, the connection of now. */
  constructor({ outbox, tabs, socket, emit }) {
    this.#outbox = outbox;
    this.#tabs = tabs;
    this.#socket = socket;
    this.#emit = emit;
    tabs.listen((news) => this.#heard(news));
  }

  /* Read what an earlier page, or another tab, left unsent; nothing that another customer wrote. */
  async load() {
    const kept = await this.#outbox.all().catch((error) => complain(error) ?? []);
    this.#items = kept.filter((item) => this.#isOurs(item));
  }

  /* Oldest first. */
  get items() {
    return [...this.#items];
  }

  add(said) {
    const nth = (this.#items.at(-1)?.nth ?? 0) + 1;
    const item = { id: newId(), at: Date.now(), nth, owner: this.#owner, ...said };
    this.#items.push(item);
    this.#keep(item).then(() => this.#tabs.tell("queued", { item }));
    this.#emit("outgoing", item);
    return item;
  }

  /* Whether there is such an item, which is now to be sent again. */
  retry(id) {
    const item = this.#find(id);
    if (!item) return false;
    item.isRefused = false;
    this.#keep(item);
    this.#emit("sending", item);
    return true;
  }

  /* Give up an item that was refused. */
  discard(id) {
    this.drained(id);
    this.#tabs.tell("discarded", { id });
    this.#emit("discarded", { id });
  }

  acknowledged(id, seq) {
    this.drained(id);
    this.#tabs.tell("sent", { id, seq });
    this.#emit("sent", { id, seq });
    this.flush();
  }

  /* The server has it. */
  drained(id) {
    this.#settled.add(id);
    if (!this.#find(id)) return;
    this.#items = this.#items.filter((item) => item.id !== id);
    this.#outbox.remove(id).catch(complain);
    if (this.#inFlight?.id === id) this.#landed();
  }

  /* The server's error about an item. */
  failed({ client_msg_id, code, retry_after_s }) {
    // A frame that is too large is not read, so its error names no message: it is the one on its way.
    const item = this.#find(client_msg_id ?? (code === "frame_too_large" ? this.#inFlight?.id : undefined));
    if (!item) return;
    if (HOPELESS.has(code)) {
      item.isRefused = true;
      this.#keep(item);
      this.#tabs.tell("refused", { id: item.id, code });
      this.#emit("failed", { item, code });
    } else {
      this.#pause = setTimeout(() => {
        this.#pause = 0;
        this.flush();
      }, (retry_after_s ?? RESEND_AFTER_S) * 1000);
    }
    if (this.#inFlight?.id === item.id) this.#landed();
    this.flush();
  }

  /* The socket is gone, and with it what was on its way. */
  stop() {
    clearTimeout(this.#pause);
    this.#pause = 0;
    this.#landed();
  }

  /* Send what waits, one after the other, while no other tab of this browser sends. */
  async flush() {
    if (this.#isFlushing || !this.#next) return;
    this.#isFlushing = true;
    try {
      await this.#tabs.exclusively("send", async () => {
        for (let item = this.#next; item; item = this.#next) await this.#deliver(item);
      });
    } finally {
      this.#isFlushing = false;
    }
    // What was written between the last look and the end of the lock.
    if (this.#next) this.flush();
  }

  get #next() {
    if (!this.#socket.isOpen() || this.#pause) return null;
    return this.#items.find((one) => !one.isRefused) ?? null;
  }

  /* Resolves when the item was acknowledged or refused, or when the socket is gone. */
  async #deliver(item) {
    // Another tab sent it while this one waited for its turn. Where nobody can tell, it is sent: the server takes it once.
    const isThere = this.#unkept.has(item.id) || (await this.#outbox.get(item.id).then(Boolean, () => true));
    if (!isThere) {
      this.drained(item.id);
      this.#emit("sent", { id: item.id });
    }
    if (this.#next !== item) return;
    this.#emit("sending", item);
    const { id, text, payload, title, attachments, context, language } = item;
    const files = attachments?.map((one) => one.id);
    await new Promise((landed) => {
      this.#inFlight = { id, landed };
      this.#socket.write({ type: "send", client_msg_id: id, text, payload, title, attachments: files, context, language });
      // A socket that takes frames and answers none is dead, whatever the browser thinks of it.
      this.#silence = setTimeout(() => this.#socket.drop(), ACK_WITHIN_MS);
    });
  }

  #landed() {
    clearTimeout(this.#silence);
    this.#inFlight?.landed();
    this.#inFlight = null;
  }

  /* What another tab says. */
  #heard({ kind, id, item, seq, code }) {
    const known = this.#find(id ?? item?.id);
    if (kind === "queued" && !known && !this.#settled.has(item.id) && this.#isOurs(item)) {
      this.#items.push(item);
      // By when it was written, not by when this tab heard of it.
      this.#items.sort(byAge);
      this.#emit("outgoing", item);
      this.flush();
    } else if (kind === "sent" && known) {
      this.drained(id);
      this.#emit("sent", { id, seq });
    } else if (kind === "refused" && known) {
      known.isRefused = true;
      this.#emit("failed", { item: known, code });
    } else if (kind === "discarded" && known) {
      this.drained(id);
      this.#emit("discarded", { id });
    }
  }

  get #owner() {
    return subjectOf(this.#socket.identity() ?? "");
  }

  // What was written before anybody signed in belongs to who signs in.
  #isOurs(item) {
    return !item.owner || item.owner === this.#owner;
  }

  #find(id) {
    return this.#items.find((item) => item.id === id) ?? null;
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
}

function complain(error) {
  console.warn("Kefu: the browser's storage failed", error);
}

function newId() {
  const random = crypto.getRandomValues(new Uint8Array(9));
  return `${Date.now().toString(36)}-${[...random].map((byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}
