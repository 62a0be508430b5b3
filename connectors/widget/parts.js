/* The parts of a message → elements. Text goes in as text, never as markup; a URL is used only when a browser may open it. */

import { carousel } from "./carousel.js";
import { fileSize, make } from "./elements.js";
import { icon } from "./icons.js";
import { ratingForm } from "./rating.js";

const LINK = /https?:\/\/[^\s<>"'，。；：！？、（）《》「」]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+/giu;
const TRAILING = /[.,;:!?)\]}'"]+$/u;
const LINK_SCHEMES = new Set(["http:", "https:", "mailto:", "tel:"]);
const IMAGE_SCHEMES = new Set(["http:", "https:"]);

/* The server's own check a second time: a URL from a message, or null. Relative ones belong to the server. */
function safeUrl(value, base, schemes) {
  try {
    const url = new URL(value, base);
    return schemes.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/* Elements for one part. `context`: {texts, server, locale(), choose({payload, title}), hint({input})}. */
export function renderPart(part, context) {
  return RENDERERS[part.type]?.(part, context) ?? [];
}

/* Elements for what a customer sent: their words as they wrote them, and their files. */
export function renderOwnPart(part, context) {
  if (part.type === "text") return [plainBubble(part.text)];
  return part.type === "image" || part.type === "file" ? renderPart(part, context) : [];
}

/* An uploaded file as a part: {id, name, media_type, size, url}. */
export function attachmentPart({ name, media_type, size, url }) {
  if (/^image\/(png|jpeg|gif|webp|avif)$/.test(media_type)) return { type: "image", url, alt: name };
  return { type: "file", url, name, media_type, size };
}

const RENDERERS = {
  text: ({ text }) => [bubble(text)],
  buttons: (part, context) => [...asked(part), choices(part.buttons, context, "kefu-buttons")],
  quick_replies: (part, context) => [...asked(part), choices(part.buttons, context, "kefu-buttons kefu-quick")],
  image: (part, context) => linkedPicture(part, context),
  card: (part, context) => [card(part, context)],
  carousel: ({ cards }, context) => [carousel(cards.map((one) => card(one, context)), context)],
  file: (part, context) => file(part, context),
  form: (part, context) => {
    context.hint?.(part);
    return asked(part);
  },
  rating: (part, context) => [...asked(part), ratingForm(part, context)],
};

function asked({ text }) {
  return text ? [bubble(text)] : [];
}

function bubble(text) {
  return make("div", { class: "kefu-bubble", dir: "auto" }, ...withLinks(text));
}

/* What is added to a bubble. */
export function moreText(text) {
  return make("span", {}, ...withLinks(text));
}

/* What the customer wrote, as they wrote it: their own e-mail address is no link. */
export function plainBubble(text) {
  return make("div", { class: "kefu-bubble", dir: "auto" }, text);
}

function withLinks(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const link = match[0].replace(TRAILING, "");
    const href = safeUrl(link.includes("://") ? link : `mailto:${link}`, undefined, LINK_SCHEMES);
    if (!href) continue;
    found.push(text.slice(end, match.index), anchor(href, {}, link));
    end = match.index + link.length;
  }
  return [...found, text.slice(end)];
}

function anchor(href, attributes, ...children) {
  return make("a", { href, target: "_blank", rel: "noopener noreferrer nofollow", ...attributes }, ...children);
}

function choices(buttons, context, className) {
  return make("div", { class: className, role: "group", "aria-label": context.texts.choices },
    ...buttons.map((button) => choice(button, context)));
}

function choice(button, context) {
  if (!button.url) {
    const choose = () => context.choose({ payload: button.payload ?? button.title, title: button.title });
    return make("button", { type: "button", class: "kefu-choice", onclick: choose }, button.title);
  }
  const href = safeUrl(button.url, context.server, LINK_SCHEMES);
  if (!href) return null;
  const label = `${button.title} ${context.texts.newTab}`;
  return anchor(href, { class: "kefu-choice", "aria-label": label }, button.title, icon("out"));
}

export function picture(url, alt, context) {
  const src = safeUrl(url, context.server, IMAGE_SCHEMES);
  if (!src) return [];
  const image = make("img", { class: "kefu-image", src, alt: alt || context.texts.image, loading: "lazy", referrerpolicy: "no-referrer" });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "kefu-missing" }, alt || context.texts.imageMissing)));
  return [image];
}

// A chat is narrow: the picture opens in its full size beside it.
function linkedPicture({ url, alt }, context) {
  const [image] = picture(url, alt, context);
  return image ? [anchor(image.src, { class: "kefu-picture", "aria-label": `${image.alt} ${context.texts.newTab}` }, image)] : [];
}

function card(part, context) {
  return make("article", { class: "kefu-card", "aria-label": part.title },
    ...(part.image_url ? picture(part.image_url, part.title, context) : []),
    make("p", { class: "kefu-card-title", dir: "auto" }, part.title),
    part.subtitle ? make("p", { class: "kefu-card-text", dir: "auto" }, ...withLinks(part.subtitle)) : null,
    part.buttons?.length ? choices(part.buttons, context, "kefu-buttons") : null);
}

function file({ url, name, size }, context) {
  const href = safeUrl(url, context.server, IMAGE_SCHEMES);
  if (!href) return [];
  const kind = /\.(\w{1,5})$/.exec(name)?.[1].toUpperCase() ?? "";
  const facts = [kind, size ? fileSize(size, context.locale()) : ""].filter(Boolean).join(" · ");
  return [anchor(href, { class: "kefu-file", "aria-label": context.texts.download(name) },
    make("span", { class: "kefu-file-icon" }, icon("file")),
    make("span", { class: "kefu-file-facts" },
      make("span", { class: "kefu-file-name", dir: "auto" }, name), facts ? make("small", {}, facts) : null))];
}
