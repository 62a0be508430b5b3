/* How the widget says that something is new while nobody looks: the count on the launcher and in the page's title, and a
   short sound. The sound is made here, not loaded; it is silent until the customer used the widget once. */

const NOTES = [
  { hertz: 659.25, at: 0 },
  { hertz: 880, at: 0.11 },
];
const NOTE_S = 0.32;
const VOLUME = 0.09;

export class Attention {
  #storage;
  #tabs;
  #unread = 0;
  #prefix = "";
  #audio = null;
  #onCount;

  /* `onCount(count)` whenever the number of unread messages changes. */
  constructor(storage, tabs, onCount) {
    this.#storage = storage;
    this.#tabs = tabs;
    this.#onCount = onCount;
    tabs.listen(({ kind }) => kind === "read" && this.#count(0));
  }

  get unread() {
    return this.#unread;
  }

  get isSoundOn() {
    return this.#storage.get("sound") !== false;
  }

  toggleSound() {
    this.#storage.set("sound", !this.isSoundOn);
    if (this.isSoundOn) this.#ring();
  }

  /* The customer did something here: from now on the browser lets us make a sound. */
  wake() {
    this.#audio ??= "AudioContext" in window ? new AudioContext() : null;
    if (this.#audio?.state === "suspended") this.#audio.resume();
  }

  /* A message of the history that was not read, or a new one (`isNews`) that nobody looks at. */
  missed(seq, isNews) {
    if (seq <= (this.#storage.get("read") ?? 0)) return;
    this.#count(this.#unread + 1);
    // One sound a browser, however many tabs of the shop are open.
    if (!isNews || !this.isSoundOn || seq <= (this.#storage.get("rung") ?? 0)) return;
    this.#storage.set("rung", seq);
    this.#ring();
  }

  read(seq) {
    if (seq > (this.#storage.get("read") ?? 0)) this.#storage.set("read", seq);
    this.#count(0);
    this.#tabs.tell("read");
  }

  /* A conversation that begins again counts from 1. */
  forget() {
    this.#storage.remove("read");
    this.#storage.remove("rung");
    this.#count(0);
  }

  destroy() {
    this.#count(0);
    this.#audio?.close();
  }

  #count(count) {
    if (count === this.#unread) return;
    this.#unread = count;
    const title = document.title.startsWith(this.#prefix) ? document.title.slice(this.#prefix.length) : document.title;
    this.#prefix = count ? `(${count}) ` : "";
    document.title = this.#prefix + title;
    this.#onCount(count);
  }

  #ring() {
    if (this.#audio?.state !== "running") return;
    for (const { hertz, at } of NOTES) {
      const start = this.#audio.currentTime + at;
      const tone = new OscillatorNode(this.#audio, { type: "sine", frequency: hertz });
      const loudness = new GainNode(this.#audio, { gain: 0 });
      loudness.gain.setValueAtTime(0, start);
      loudness.gain.linearRampToValueAtTime(VOLUME, start + 0.012);
      loudness.gain.exponentialRampToValueAtTime(0.0001, start + NOTE_S);
      tone.connect(loudness).connect(this.#audio.destination);
      tone.start(start);
      tone.stop(start + NOTE_S);
    }
  }
}
