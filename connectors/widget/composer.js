/* Where the customer writes. Enter sends, Shift+Enter begins a line, and an input method that is composing keeps its Enter.
   When the bot asks for an e-mail address or a telephone number, the field is one of that kind: the phone's keyboard fits,
   and the browser offers what it knows. Nothing is refused for it: the customer may ask something else instead. */

import { make } from "./elements.js";
import { icon } from "./icons.js";

const SHOW_COUNT_FROM = 0.9;
const FIELDS = {
  email: { type: "email", autocomplete: "email" },
  tel: { type: "tel", autocomplete: "tel" },
  number: { type: "text", inputmode: "numeric", autocomplete: "off" },
};

export class Composer {
  #texts;
  #maxChars = 4_000;
  #isComposing = false;
  #hint = "text";
  #count = make("div", { class: "kefu-count", "aria-live": "polite" });
  #row;
  #send;
  #date;
  #attach;
  #uploads;
  #onSend;

  /* `onSend(text, files)`; `uploads` are the files on their way. */
  constructor(texts, uploads, onSend) {
    this.#uploads = uploads;
    this.#onSend = onSend;
    this.input = this.#textarea();
    this.#send = make("button", { type: "submit", class: "kefu-send" }, icon("send"));
    this.#date = make("input", { type: "date", class: "kefu-date", hidden: true });
    this.#date.addEventListener("input", () => this.#fill(this.#date.value));
    this.#attach = make("button", { type: "button", class: "kefu-attach", hidden: true, onclick: () => uploads.picker.click() }, icon("clip"));
    this.#row = make("div", { class: "kefu-composer-row" }, this.#attach, uploads.picker, this.input, this.#date, this.#send);
    this.element = make("form", { class: "kefu-composer", novalidate: true, onpaste: (event) => this.#paste(event) },
      uploads.element, this.#count, this.#row);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.setTexts(texts);
  }

  setTexts(texts) {
    this.#texts = texts;
    this.#label();
    this.#send.setAttribute("aria-label", texts.send);
    this.#send.title = texts.send;
    this.#date.setAttribute("aria-label", texts.date);
    this.#attach.setAttribute("aria-label", texts.attach);
    this.#attach.title = texts.attach;
    this.#uploads.relabel();
    this.#changed();
  }

  /* The files changed, or whether any are taken. */
  update() {
    this.#attach.hidden = !this.#uploads.isOn;
    this.#changed();
  }

  set maxChars(value) {
    this.#maxChars = value;
    this.#changed();
  }

  /* The kind of field for what the bot asks now: text, email, tel, number or date. */
  hint(kind) {
    if (kind === this.#hint) return;
    this.#hint = kind;
    this.#date.hidden = kind !== "date";
    const field = FIELDS[kind];
    this.#replaceInput(field ? make("input", { class: "kefu-input", dir: "auto", enterkeyhint: "send", ...field }) : this.#textarea());
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  clear() {
    this.input.value = "";
    this.#changed();
  }

  #textarea() {
    return this.#listen(make("textarea", { class: "kefu-input", rows: "1", dir: "auto", autocomplete: "off", enterkeyhint: "send" }));
  }

  #replaceInput(field) {
    const hadFocus = this.input.getRootNode().activeElement === this.input;
    field.value = this.input.value;
    this.input.replaceWith(field);
    this.input = field.tagName === "TEXTAREA" ? field : this.#listen(field);
    this.#label();
    this.#changed();
    if (hadFocus) this.focus();
  }

  #listen(field) {
    field.addEventListener("input", () => this.#changed());
    field.addEventListener("keydown", (event) => this.#key(event));
    field.addEventListener("compositionstart", () => (this.#isComposing = true));
    field.addEventListener("compositionend", () => (this.#isComposing = false));
    return field;
  }

  #label() {
    this.input.placeholder = this.#texts.placeholder;
    this.input.setAttribute("aria-label", this.#texts.message);
  }

  #fill(value) {
    this.input.value = value;
    this.#changed();
    this.focus();
  }

  #key(event) {
    // 229 is Safari's Enter that ends a composition: by then it says itself that nothing is composing.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || this.#isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  #paste(event) {
    const { files } = event.clipboardData ?? { files: [] };
    if (!files.length || !this.#uploads.isOn) return;
    event.preventDefault();
    this.#uploads.add(files);
  }

  #submit() {
    const text = this.input.value.trim();
    if (this.#send.disabled) return;
    this.input.value = "";
    this.hint("text");
    this.#onSend(text, this.#uploads.take());
    this.#changed();
    this.focus();
  }

  #changed() {
    const used = length(this.input.value.trim());
    const left = this.#maxChars - used;
    this.#send.disabled = (used === 0 && !this.#uploads.isReady) || left < 0 || this.#uploads.isBusy;
    const isNear = used > this.#maxChars * SHOW_COUNT_FROM;
    this.#count.textContent = !isNear ? "" : left < 0 ? this.#texts.tooManyChars(-left) : this.#texts.charsLeft(left);
    this.#count.classList.toggle("kefu-over", left < 0);
    if (this.input.tagName !== "TEXTAREA") return;
    this.input.style.height = "auto";
    // Nothing can be measured while the chat is closed.
    if (this.input.scrollHeight) this.input.style.height = `${this.input.scrollHeight}px`;
  }
}

// As the server counts: code points, not UTF-16 units.
function length(text) {
  return [...text].length;
}
