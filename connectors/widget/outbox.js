/* What the customer wrote and the server has not acknowledged, kept in IndexedDB: it survives a reload, a crash of the
   browser and a night without a network, and every tab of this browser sees the same. Where a browser forbids IndexedDB,
   the same in `Storage`. Operations take effect in the order they were called. */

const STORE = "messages";
const OPEN_WITHIN_MS = 2_000;

export class Outbox {
  #database;
  #storage;

  constructor(database, storage) {
    this.#database = database;
    this.#storage = storage;
  }

  static async open(server, storage) {
    try {
      return new Outbox(await openDatabase(`kefu:${new URL(server).host}`), storage);
    } catch (error) {
      console.warn("Kefu: no IndexedDB here, unsent messages are kept in another place", error);
      return new Outbox(null, storage);
    }
  }

  /* All items, oldest first. */
  async all() {
    const items = this.#database ? await this.#run("readonly", (store) => store.getAll()) : this.#storage.all("out:");
    return items.sort(byAge);
  }

  async get(id) {
    return (this.#database ? await this.#run("readonly", (store) => store.get(id)) : this.#storage.get(`out:${id}`)) ?? null;
  }

  async put(item) {
    if (this.#database) await this.#run("readwrite", (store) => store.put(item));
    else this.#storage.set(`out:${item.id}`, item);
  }

  async remove(id) {
    if (this.#database) await this.#run("readwrite", (store) => store.delete(id));
    else this.#storage.remove(`out:${id}`);
  }

  close() {
    this.#database?.close();
  }

  #run(mode, work) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      // Written now, not when the event loop comes round: the page may be on its way out.
      if (mode === "readwrite") transaction.commit?.();
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

/* Oldest first; what was written in the same millisecond keeps its order. */
export function byAge(one, other) {
  return one.at - other.at || one.nth - other.nth;
}

function openDatabase(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    // A browser that never answers (some do in private windows) must not keep the chat from opening.
    setTimeout(() => reject(new Error("IndexedDB does not answer")), OPEN_WITHIN_MS);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("IndexedDB is blocked"));
  });
}
