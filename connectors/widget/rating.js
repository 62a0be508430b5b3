/* A rating: stars as a radio group, so that arrow keys choose and a screen reader says "3 of 5". */

import { make } from "./elements.js";
import { icon } from "./icons.js";

const MOST_STARS = 6; // more are numbers: nobody counts ten stars
const MOST = 10;
let groups = 0;

/* The radio group alone; `onchange(number)`. */
export function stars(max, { texts }, onchange) {
  const shown = Math.min(max, MOST);
  const name = `kefu-rating-${(groups += 1)}`;
  const one = (number) => {
    const input = make("input", { type: "radio", name, value: number, "aria-label": texts.stars(number, max), onchange: () => onchange(number) });
    return make("label", { class: "kefu-star", title: texts.stars(number, max) }, input, shown > MOST_STARS ? String(number) : icon("star"));
  };
  return make("div", { class: `kefu-stars ${shown > MOST_STARS ? "kefu-numbers" : ""}`, role: "radiogroup", "aria-label": texts.rating },
    ...Array.from({ length: shown }, (_, index) => one(index + 1)));
}

/* A rating that the bot asks for: answered once, with the number as the payload. */
export function ratingForm({ max }, context) {
  const { texts } = context;
  let chosen = null;
  const send = make("button", { type: "submit", class: "kefu-choice", disabled: true }, texts.sendRating);
  const group = stars(max, context, (number) => {
    chosen = number;
    send.disabled = false;
  });
  const form = make("form", { class: "kefu-quick kefu-rating" }, group, send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen !== null) context.choose({ payload: String(chosen), title: texts.stars(chosen, max) });
  });
  return form;
}
