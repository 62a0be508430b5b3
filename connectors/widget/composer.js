/* Where the customer writes. Enter sends, Shift+Enter begins a line, and an input method that is composing keeps its Enter. */

import { icon, make } from "./parts.js";

const SHOW_COUNT_FROM = 0.9;

export class Composer {
  #texts;
  #maxChars = 4_000;
  #isComposing = false;
  #count = make("p", { class: "kefu-count", "aria-live": "polite" });
  #send;
  #onSend;

  constructor(texts, onSend) {
    this.#onSend = onSend;
    this.input = make("textarea", { class: "kefu-input", rows: "1", dir: "auto", autocomplete: "off", enterkeyhint: "send" });
    this.#send = make("button", { type: "submit", class: "kefu-send" }, icon("send"));
    this.element = make("form", { class: "kefu-composer", novalidate: true },
      this.#count, make("div", { class: "kefu-composer-row" }, this.input, this.#send));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.input.addEventListener("input", () => this.#changed());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("compositionstart", () => (this.#isComposing = true));
    this.input.addEventListener("compositionend", () => (this.#isComposing = false));
    this.setTexts(texts);
  }

  setTexts(texts) {
    this.#texts = texts;
    this.input.placeholder = texts.placeholder;
    this.input.setAttribute("aria-label", texts.message);
    this.#send.setAttribute("aria-label", texts.send);
    this.#send.title = texts.send;
    this.#changed();
  }

  set maxChars(value) {
    this.#maxChars = value;
    this.#changed();
  }

  /* The kind of keyboard a phone should show for what the bot asks now. */
  hint(input) {
    this.input.inputMode = { email: "email", tel: "tel", number: "numeric" }[input] ?? "text";
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  #key(event) {
    // 229 is Safari's Enter that ends a composition: by then it says itself that nothing is composing.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || this.#isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const text = this.input.value.trim();
    if (!text || length(text) > this.#maxChars) return;
    this.input.value = "";
    this.hint("text");
    this.#changed();
    this.#onSend(text);
    this.focus();
  }

  #changed() {
    const used = length(this.input.value.trim());
    const left = this.#maxChars - used;
    this.#send.disabled = used === 0 || left < 0;
    const isNear = used > this.#maxChars * SHOW_COUNT_FROM;
    this.#count.textContent = !isNear ? "" : left < 0 ? this.#texts.tooManyChars(-left) : this.#texts.charsLeft(left);
    this.#count.classList.toggle("kefu-over", left < 0);
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }
}

// As the server counts: code points, not UTF-16 units.
function length(text) {
  return [...text].length;
}
