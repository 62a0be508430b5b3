/* Who the shop says the customer is, as far as this browser needs to know: whose unsent messages these are. Nothing is
   verified here; the server does that. */

/* The claim that tells one customer from another; "" for nobody, or for a token that cannot be read. */
export function subjectOf(token) {
  try {
    const [, body] = token.split(".");
    const bytes = Uint8Array.from(atob(body.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return String(claims.sub ?? claims.email ?? claims.phone ?? "");
  } catch {
    return "";
  }
}
