/* How elements are made here: never from markup. */

/* Make an element: make("a", { class: "x", href: … }, child, "text"). Attributes that are null are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/* Whether things here run from right to left. */
export function isRightToLeft(element) {
  return getComputedStyle(element).direction === "rtl";
}

/* 1234567 → "1.2 MB", in the words of the locale. */
export function fileSize(bytes, locale) {
  const isSmall = bytes < 1_000_000;
  const style = { style: "unit", unit: isSmall ? "kilobyte" : "megabyte", unitDisplay: "short", maximumFractionDigits: isSmall ? 0 : 1 };
  return new Intl.NumberFormat(locale, style).format(isSmall ? Math.max(1, bytes / 1000) : bytes / 1_000_000);
}
