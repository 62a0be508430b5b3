/* What the widget keeps between page loads. Where a browser forbids it, the same in memory: the chat works, but forgets. */

export class Storage {
  #area;
  #prefix;

  constructor(server) {
    this.#prefix = `kefu:${new URL(server).host}:`;
    this.#area = usableArea();
  }

  get(key) {
    try {
      return JSON.parse(this.#area.getItem(this.#prefix + key));
    } catch {
      return null;
    }
  }

  set(key, value) {
    try {
      this.#area.setItem(this.#prefix + key, JSON.stringify(value));
    } catch (error) {
      // Full. The message is still in memory and will be sent while the page is open.
      console.warn("Kefu: the browser's storage is full", error);
    }
  }

  remove(key) {
    this.#area.removeItem(this.#prefix + key);
  }

  /* Values whose keys begin with `start`. One key a value, so that two tabs do not overwrite each other's. */
  all(start) {
    const found = [];
    for (let index = 0; index < this.#area.length; index += 1) {
      const key = this.#area.key(index);
      if (key?.startsWith(this.#prefix + start)) found.push(this.get(key.slice(this.#prefix.length)));
    }
    return found.filter(Boolean);
  }
}

function usableArea() {
  try {
    const area = window.localStorage;
    area.setItem("kefu:probe", "1");
    area.removeItem("kefu:probe");
    return area;
  } catch {
    return new MemoryArea();
  }
}

class MemoryArea {
  #values = new Map();

  get length() {
    return this.#values.size;
  }

  key(index) {
    return [...this.#values.keys()][index] ?? null;
  }

  getItem(key) {
    return this.#values.get(key) ?? null;
  }

  setItem(key, value) {
    this.#values.set(key, value);
  }

  removeItem(key) {
    this.#values.delete(key);
  }
}
