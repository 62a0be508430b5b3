/* Cards side by side: swiped on a phone, moved by arrow keys and by two buttons elsewhere. */

import { isRightToLeft, make } from "./elements.js";
import { icon } from "./icons.js";

const AT_END_PX = 4;

export function carousel(cards, { texts }) {
  const strip = make("div", { class: "kefu-strip", role: "group", "aria-label": texts.carousel(cards.length), tabindex: "0" }, ...cards);
  const previous = make("button", { type: "button", class: "kefu-turn", "aria-label": texts.previous, onclick: () => turn(strip, -1) }, icon("previous"));
  const next = make("button", { type: "button", class: "kefu-turn", "aria-label": texts.next, onclick: () => turn(strip, 1) }, icon("next"));
  const bar = make("div", { class: "kefu-turns" }, previous, next);
  const update = () => {
    const room = strip.scrollWidth - strip.clientWidth;
    const at = Math.abs(strip.scrollLeft);
    bar.hidden = room <= AT_END_PX;
    // Not `disabled`: the button that was just pressed would lose the keyboard's focus.
    previous.setAttribute("aria-disabled", at <= AT_END_PX);
    next.setAttribute("aria-disabled", at >= room - AT_END_PX);
  };
  strip.addEventListener("scroll", update, { passive: true });
  strip.addEventListener("keydown", (event) => key(event, strip));
  new ResizeObserver(update).observe(strip);
  return make("div", { class: "kefu-carousel" }, strip, bar);
}

function key(event, strip) {
  // Inside a card the keys belong to what is focused there.
  if (event.target !== strip || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const forward = isRightToLeft(strip) ? "ArrowLeft" : "ArrowRight";
  if (event.key === "Home") turn(strip, -Infinity);
  else if (event.key === "End") turn(strip, Infinity);
  else turn(strip, event.key === forward ? 1 : -1);
}

/* Bring the card that is `steps` after the first visible one to the beginning. */
function turn(strip, steps) {
  const rtl = isRightToLeft(strip);
  const box = strip.getBoundingClientRect();
  const inset = parseFloat(getComputedStyle(strip).scrollPaddingInlineStart) || 0;
  const away = [...strip.children].map((card) => {
    const { left, right } = card.getBoundingClientRect();
    return rtl ? box.right - inset - right : left - box.left - inset;
  });
  const first = away.findIndex((distance) => distance > -AT_END_PX);
  const wish = Math.min(Math.max((first < 0 ? away.length - 1 : first) + steps, 0), away.length - 1);
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
  strip.scrollBy({ left: rtl ? -away[wish] : away[wish], behavior });
}
