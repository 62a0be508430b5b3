/* The menu behind "⋯": a button and a list, worked with arrow keys as menus are. */

import { make } from "./elements.js";
import { icon } from "./icons.js";

export class Menu {
  #list = make("div", { class: "kefu-menu", role: "menu", hidden: true });
  #items = [];
  #texts = null;

  /* `items`: {icon, label(texts), choose(), isShown?(), isChecked?()}; with isChecked it is a switch. */
  constructor(items) {
    this.#items = items;
    this.button = make("button", { type: "button", class: "kefu-tool", "aria-haspopup": "menu", "aria-expanded": "false", onclick: () => this.#toggle() }, icon("more"));
    this.element = make("div", { class: "kefu-menu-frame", onkeydown: (event) => this.#key(event), onfocusout: (event) => this.#left(event) },
      this.button, this.#list);
  }

  setTexts(texts) {
    this.#texts = texts;
    this.button.setAttribute("aria-label", texts.more);
    this.button.title = texts.more;
    this.#list.setAttribute("aria-label", texts.more);
  }

  #entry(item) {
    const role = item.isChecked ? "menuitemcheckbox" : "menuitem";
    const checked = item.isChecked ? String(item.isChecked()) : null;
    const choose = () => {
      this.#close();
      item.choose();
    };
    return make("button", { type: "button", role, class: "kefu-menu-item", tabindex: "-1", "aria-checked": checked, onclick: choose },
      icon(item.icon), make("span", {}, item.label(this.#texts)), item.isChecked ? icon("done") : null);
  }

  get #entries() {
    return [...this.#list.children];
  }

  #toggle() {
    if (this.#list.hidden) this.#open();
    else this.#close();
  }

  #open() {
    const shown = this.#items.filter((item) => item.isShown?.() ?? true);
    this.#list.replaceChildren(...shown.map((item) => this.#entry(item)));
    this.#list.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.#entries[0].focus();
  }

  #close() {
    if (this.#list.hidden) return;
    // The focus goes back first: an element that vanishes takes it along.
    this.button.focus();
    this.#list.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  #key(event) {
    if (this.#list.hidden) {
      if (event.key === "ArrowDown" && event.target === this.button) {
        event.preventDefault();
        this.#open();
      }
      return;
    }
    const entries = this.#entries;
    const at = entries.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (to !== undefined) {
      entries[(to + entries.length) % entries.length].focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      this.#close();
    } else {
      return;
    }
    event.preventDefault();
    // Escape closes the menu, not the chat.
    event.stopPropagation();
  }

  #left(event) {
    if (this.element.contains(event.relatedTarget) || this.#list.hidden) return;
    this.#list.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }
}
