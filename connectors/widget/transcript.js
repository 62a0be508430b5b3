/* The conversation to take along: a text file, or paper. */

import { make } from "./elements.js";

/* The entries as plain text. `names` says who speaks: {customer, bot, operator}. */
export function transcriptText(entries, { heading, names, locale }) {
  const time = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const lines = entries.flatMap((entry) => {
    const all = entry.attachments ?? entry.metadata?.attachments ?? [];
    const files = all.filter(({ url }) => !entry.parts.some((part) => part.url === url));
    const words = [...entry.parts.map(partText), ...files.map(({ name, url }) => `[${name}] ${url}`)].filter(Boolean).join("\n");
    const name = names[entry.author] ?? names.bot;
    return words ? [`${time.format(new Date(entry.created_at))}  ${name}\n${words}\n`] : [];
  });
  return `${heading}\n${"=".repeat(heading.length)}\n\n${lines.join("\n")}`;
}

function partText(part) {
  const choices = (buttons) => (buttons ?? []).map(({ title, url }) => `  • ${title}${url ? ` ${url}` : ""}`);
  const card = ({ title, subtitle, buttons }) => [title, subtitle, ...choices(buttons)];
  const lines = {
    buttons: () => [part.text, ...choices(part.buttons)],
    quick_replies: () => [part.text, ...choices(part.buttons)],
    card: () => card(part),
    carousel: () => part.cards.flatMap(card),
    image: () => [part.alt ? `[${part.alt}] ${part.url}` : part.url],
    file: () => [`[${part.name}] ${part.url}`],
  };
  return (lines[part.type]?.() ?? [part.text]).filter(Boolean).join("\n");
}

export function download(name, text) {
  // The mark tells old editors that Chinese follows.
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/plain;charset=utf-8" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/* Print the chat alone, as one long page. Resolves when the dialogue is closed. */
export function print(chat) {
  const page = new CSSStyleSheet();
  page.replaceSync("@media print { body > *:not(kefu-chat) { display: none !important } }");
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, page];
  chat.classList.add("kefu-printing");
  const done = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== page);
    chat.classList.remove("kefu-printing");
  };
  window.addEventListener("afterprint", done, { once: true });
  window.print();
}
