/* How the widget looks and speaks on this page: the shop's brand, the customer's language, the direction of writing. */

import { make } from "./elements.js";
import { localized, nearestLocale, textsFor, LOCALES } from "./texts.js";
import { themeProperties } from "./theme.js";

const BRAND_WITHIN_MS = 2_000;

export class Look {
  #options;
  #storage;
  #host;
  #theme = null;
  #locale;
  brand = {};

  constructor(host, options, storage) {
    this.#host = host;
    this.#options = options;
    this.#storage = storage;
    this.#locale = this.#firstLocale();
  }

  /* "en" or "zh". */
  get language() {
    return this.#locale;
  }

  get texts() {
    return textsFor(this.#locale);
  }

  /* What `Intl` is asked with. */
  get locale() {
    return this.#locale === "zh" ? "zh-CN" : "en-GB";
  }

  get otherLanguage() {
    return LOCALES.find((locale) => locale !== this.#locale);
  }

  get names() {
    const brand = this.#options.title || this.words(this.brand.name) || "Kefu";
    return { brand, assistant: this.words(this.brand.assistant_name) || brand };
  }

  get disclosure() {
    const { disclosure } = this.brand;
    return disclosure?.enabled ? this.words(disclosure.text) : "";
  }

  get direction() {
    return this.#options.dir ?? (getComputedStyle(document.documentElement).direction === "rtl" ? "rtl" : "ltr");
  }

  /* A text of the brand in the customer's language. */
  words(value) {
    return localized(value, this.#locale);
  }

  /* Whether that is another language than the one spoken now. */
  speak(wish) {
    const locale = nearestLocale(wish);
    if (locale === this.#locale) return false;
    this.#locale = locale;
    this.#storage.set("locale", { page: this.#pageLocale(), choice: locale });
    return true;
  }

  /* Whether that is another brand than the one shown now. */
  use(brand) {
    if (!brand || JSON.stringify(brand) === JSON.stringify(this.brand)) return false;
    this.brand = brand;
    this.#storage.set("brand", brand);
    const properties = themeProperties(brand.colors);
    if (this.#theme) this.#theme.replaceSync(`:host{${properties.map(([name, value]) => `${name}:${value}`).join(";")}}`);
    else for (const [name, value] of properties) this.#host.style.setProperty(name, value);
    return true;
  }

  async loadBrand() {
    try {
      const answer = await fetch(new URL("webchat/brand", this.#options.server), { signal: AbortSignal.timeout(BRAND_WITHIN_MS) });
      if (answer.ok) return (await answer.json()).brand;
    } catch {
      // Offline or slow: the colours of the last visit, and the socket's welcome brings the brand too.
    }
    return this.#storage.get("brand");
  }

  async loadStyles(root) {
    const url = new URL("widget.css", import.meta.url);
    if (!("adoptedStyleSheets" in root)) {
      const link = make("link", { rel: "stylesheet", href: url.href });
      root.append(link);
      return new Promise((resolve) => (link.onload = link.onerror = resolve));
    }
    const sheet = new CSSStyleSheet();
    this.#theme = new CSSStyleSheet();
    root.adoptedStyleSheets = [sheet, this.#theme];
    return sheet.replace(await (await fetch(url)).text());
  }

  #firstLocale() {
    const page = this.#pageLocale();
    const saved = this.#storage.get("locale");
    // The customer's choice holds while the page speaks the language it spoke then.
    return saved?.page === page && LOCALES.includes(saved.choice) ? saved.choice : page;
  }

  #pageLocale() {
    return nearestLocale(this.#options.lang, document.documentElement.lang, ...navigator.languages);
  }
}
