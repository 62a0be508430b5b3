/* The two forms beside the conversation: what is asked before it, and how it was afterwards. */

import { make } from "./elements.js";
import { stars } from "./rating.js";
import { localized } from "./texts.js";

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;
const AUTOCOMPLETE = { email: "email", tel: "tel" };

/* The form before the chat. `preChat`: brand.yml's {text, fields}; `onDone({name: value})`. */
export function preChatForm(preChat, { texts, language }, onDone) {
  const rows = preChat.fields.map((field, index) => fieldRow(field, `kefu-field-${index}`, texts, language));
  const form = make("form", { class: "kefu-form", novalidate: true, "aria-label": texts.preChat },
    make("p", { class: "kefu-form-text", dir: "auto" }, localized(preChat.text, language)),
    ...rows.map(({ element }) => element),
    make("button", { type: "submit", class: "kefu-primary" }, texts.start));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = rows.filter((row) => !row.check());
    if (wrong.length) {
      wrong[0].input.focus();
      return;
    }
    onDone(Object.fromEntries(rows.map(({ field, input }) => [field.name, input.value.trim()]).filter(([, value]) => value)));
  });
  return form;
}

function fieldRow(field, id, texts, language) {
  const numeric = field.input === "number";
  const input = make("input", {
    id, class: "kefu-field", dir: "auto", type: numeric ? "text" : field.input, inputmode: numeric ? "numeric" : null,
    autocomplete: AUTOCOMPLETE[field.input] ?? (field.name === "name" ? "name" : "off"), maxlength: "200",
    "aria-required": field.is_required ? "true" : null, "aria-describedby": `${id}-problem`,
  });
  const problem = make("p", { class: "kefu-problem", id: `${id}-problem`, role: "alert" });
  const check = () => {
    const value = input.value.trim();
    const isMissing = field.is_required && !value;
    const isWrong = field.input === "email" && value && !EMAIL.test(value);
    problem.textContent = isMissing ? texts.required : isWrong ? texts.notEmail : "";
    input.setAttribute("aria-invalid", String(Boolean(isMissing || isWrong)));
    return !isMissing && !isWrong;
  };
  input.addEventListener("input", () => problem.textContent && check());
  const hint = field.is_required ? null : make("span", { class: "kefu-optional" }, texts.optional);
  const label = make("label", { for: id }, localized(field.label, language), " ", hint);
  return { field, input, check, element: make("div", { class: "kefu-row" }, label, input, problem) };
}

/* The question at the end. `csat`: brand.yml's {intent, text, max}; `onDone({rating, comment} | null)`. */
export function feedbackForm(csat, { texts, language }, onDone) {
  let rating = null;
  const question = localized(csat.text, language) || texts.feedback;
  const send = make("button", { type: "submit", class: "kefu-primary", disabled: true }, texts.sendRating);
  const group = stars(csat.max, { texts }, (number) => {
    rating = number;
    send.disabled = false;
  });
  const comment = make("textarea", { class: "kefu-field", rows: "2", dir: "auto", maxlength: "1000", "aria-label": texts.comment, placeholder: texts.comment });
  const skip = make("button", { type: "button", class: "kefu-secondary", onclick: () => onDone(null) }, texts.skip);
  const form = make("form", { class: "kefu-form kefu-feedback", novalidate: true, "aria-label": question },
    make("p", { class: "kefu-form-text", dir: "auto" }, question), group, comment,
    make("div", { class: "kefu-form-row" }, skip, send));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (rating !== null) onDone({ rating, comment: comment.value.trim() });
  });
  return form;
}
