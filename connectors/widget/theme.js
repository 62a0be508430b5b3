/* The brand's colours as custom properties. A pair that people could not read is replaced, not shown. */

const READABLE = 4.5;
const NAMES = ["primary", "on_primary", "background", "text", "accent", "bubble", "danger"];
const DANGERS = ["#a3201a", "#ffb4ab"];
const HEX = /^#[0-9a-f]{6}$/i;

/* The custom properties of a brand's `colors`; unknown names and anything but #rrggbb are ignored. */
export function themeProperties(colors) {
  const given = Object.fromEntries(Object.entries(colors ?? {}).filter(([, value]) => HEX.test(value)));
  const theme = { primary: "#1f4b63", on_primary: "#ffffff", background: "#ffffff", text: "#1d242b", ...given };
  theme.on_primary = readable(theme.on_primary, theme.primary);
  theme.text = readable(theme.text, theme.background);
  // Buttons and links stand on the background: a light primary colour is no ink.
  theme.accent = contrast(theme.primary, theme.background) >= READABLE ? theme.primary : theme.text;
  // Bubbles are a shade nearer to white than the background, where the text is dark; else a shade lighter than it.
  theme.bubble = contrast(theme.text, "#ffffff") >= READABLE ? mix(theme.background, "#ffffff", 0.6) : mix(theme.background, "#ffffff", 0.08);
  theme.danger = DANGERS.find((red) => contrast(red, theme.background) >= READABLE && contrast(red, theme.bubble) >= READABLE) ?? theme.text;
  return NAMES.map((name) => [`--kefu-${name.replace("_", "-")}`, theme[name]]);
}

export function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/* The colour itself where it can be read, else black or white, whichever is further away. */
function readable(front, back) {
  if (contrast(front, back) >= READABLE) return front;
  return contrast("#ffffff", back) >= contrast("#111111", back) ? "#ffffff" : "#111111";
}

function mix(one, other, share) {
  const parts = [1, 3, 5].map((start) => {
    const [from, to] = [one, other].map((hex) => parseInt(hex.slice(start, start + 2), 16));
    return Math.round(from + (to - from) * share).toString(16).padStart(2, "0");
  });
  return `#${parts.join("")}`;
}

function luminance(hex) {
  const [red, green, blue] = [1, 3, 5].map((start) => {
    const part = parseInt(hex.slice(start, start + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
