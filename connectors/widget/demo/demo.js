/* The demo page's own behaviour: its buttons open the chat, the snippet names this server, ?debug shows why. */

const search = new URLSearchParams(location.search);

document.getElementById("snippet").textContent = `<script src="${location.origin}/widget/kefu.js" async></script>`;

for (const link of document.querySelectorAll("[data-switch]")) {
  const wish = new URLSearchParams(search);
  wish.set("lang", link.dataset.switch);
  link.href = `?${wish}`;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-open], [data-say]");
  if (!button) return;
  window.Kefu.open();
  if (button.dataset.say) window.Kefu.send(button.dataset.say);
});

if (search.has("debug")) {
  const { showDebug } = await import("/demo/debug.js");
  showDebug();
}
