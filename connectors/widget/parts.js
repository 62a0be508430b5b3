/* The parts of a message → elements. Text goes in as text, never as markup; a URL is used only when a browser may open it. */

const LINK = /https?:\/\/[^\s<>"'，。；：！？、（）《》「」]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+/giu;
const TRAILING = /[.,;:!?)\]}'"]+$/u;
const LINK_SCHEMES = new Set(["http:", "https:", "mailto:", "tel:"]);
const IMAGE_SCHEMES = new Set(["http:", "https:"]);

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

/* The server's own check a second time: a URL from a message, or null. Relative ones belong to the server. */
function safeUrl(value, base, schemes) {
  try {
    const url = new URL(value, base);
    return schemes.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/* Elements for one part. `context`: {texts, server, choose({payload, title}), hint({input})}. */
export function renderPart(part, context) {
  return RENDERERS[part.type]?.(part, context) ?? [];
}

const RENDERERS = {
  text: ({ text }) => [bubble(text)],
  buttons: (part, context) => [
    ...(part.text ? [bubble(part.text)] : []),
    choices(part.buttons, context, "kefu-buttons"),
  ],
  quick_replies: (part, context) => [
    ...(part.text ? [bubble(part.text)] : []),
    choices(part.buttons, context, "kefu-buttons kefu-quick"),
  ],
  image: (part, context) => picture(part.url, part.alt, context),
  card: (part, context) => [card(part, context)],
  carousel: ({ cards }, context) => [
    make("div", { class: "kefu-carousel", role: "group", "aria-label": context.texts.choices, tabindex: "0" },
      ...cards.map((one) => card(one, context))),
  ],
  file: (part, context) => file(part, context),
  form: (part, context) => {
    context.hint?.(part);
    return part.text ? [bubble(part.text)] : [];
  },
  rating: (part, context) => [...(part.text ? [bubble(part.text)] : []), stars(part, context)],
};

function bubble(text) {
  return make("div", { class: "kefu-bubble", dir: "auto" }, ...withLinks(text));
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

function picture(url, alt, context) {
  const src = safeUrl(url, context.server, IMAGE_SCHEMES);
  if (!src) return [];
  const image = make("img", { class: "kefu-image", src, alt: alt || context.texts.image, loading: "lazy", referrerpolicy: "no-referrer" });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "kefu-missing" }, alt || context.texts.imageMissing)));
  return [image];
}

function card(part, context) {
  return make("article", { class: "kefu-card" },
    ...(part.image_url ? picture(part.image_url, part.title, context) : []),
    make("p", { class: "kefu-card-title", dir: "auto" }, part.title),
    part.subtitle ? make("p", { class: "kefu-card-text", dir: "auto" }, ...withLinks(part.subtitle)) : null,
    part.buttons?.length ? choices(part.buttons, context, "kefu-buttons") : null);
}

function file(part, context) {
  const href = safeUrl(part.url, context.server, IMAGE_SCHEMES);
  if (!href) return [];
  return [anchor(href, { class: "kefu-file", "aria-label": context.texts.download(part.name) }, icon("file"), part.name)];
}

function stars({ max }, context) {
  const numbers = Array.from({ length: Math.min(max, 10) }, (_, index) => index + 1);
  return make("div", { class: "kefu-buttons kefu-quick kefu-stars", role: "group", "aria-label": context.texts.choices },
    ...numbers.map((number) => {
      const choose = () => context.choose({ payload: String(number), title: String(number) });
      const label = context.texts.stars(number, max);
      return make("button", { type: "button", class: "kefu-choice", "aria-label": label, onclick: choose }, String(number));
    }));
}

// ---- icons: paths of our own on a 24 × 24 grid ----

const ICONS = {
  chat: ["M4 5.5A2.5 2.5 0 0 1 6.500 3h11A2.500 2.500 0 0 1 20 5.500v8a2.500 2.500 0 0 1-2.500 2.500H11l-4.600 4.100c-.5.440-1.400.1-1.400-.6V16A2.500 2.500 0 0 1 4 13.500z"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  send: ["M5 12h13", "M12.500 5.500L19 12l-6.500 6.500"],
  person: ["M12 12.500a4 4 0 1 0 0-8 4 4 0 0 0 0 8z", "M4.500 20c.7-3.400 3.700-5 7.500-5s6.800 1.600 7.500 5"],
  retry: ["M19 12a7 7 0 1 1-2.200-5.100", "M19.500 3.500V8H15"],
  out: ["M9 5H6.500A1.500 1.500 0 0 0 5 6.500v11A1.500 1.500 0 0 0 6.500 19h11a1.500 1.500 0 0 0 1.500-1.500V15", "M13 5h6v6", "M19 5l-8 8"],
  file: ["M7 3.500h6.500L18 8v11a1.500 1.500 0 0 1-1.500 1.500h-9.500A1.500 1.500 0 0 1 5.500 19V5A1.500 1.500 0 0 1 7 3.500z", "M13 3.500V8.500h5"],
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["class", `kefu-icon kefu-icon-${name}`], ["aria-hidden", "true"], ["focusable", "false"]]) {
    svg.setAttribute(key, value);
  }
  for (const d of ICONS[name]) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
