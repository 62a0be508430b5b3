/* What the tabs of one browser say to each other about one server, and what only one of them may do at a time. */

export class Tabs {
  #name;
  #channel = null;
  #listeners = new Set();

  constructor(server) {
    this.#name = `kefu:${new URL(server).host}`;
    if (!("BroadcastChannel" in window)) return;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => {
      for (const listener of this.#listeners) listener(data);
    };
  }

  /* Tell the other tabs; nobody hears it in this one. */
  tell(kind, detail = {}) {
    this.#channel?.postMessage({ kind, ...detail });
  }

  listen(listener) {
    this.#listeners.add(listener);
  }

  /* Run `work` while no other tab runs its own under this name. A browser that knows no locks (a page without https)
     runs it at once: the server takes a message once, however often it comes. */
  async exclusively(name, work) {
    return navigator.locks ? navigator.locks.request(`${this.#name}:${name}`, work) : work();
  }

  close() {
    this.#channel?.close();
    // What was under way may still tell: to a closed channel that would be an error.
    this.#channel = null;
    this.#listeners.clear();
  }
}
