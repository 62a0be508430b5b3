/* The one line a shop puts into its page: <script src="https://chat.example/widget/kefu.js" async></script>
   Sets window.Kefu at once, so that a page can call it before the rest has loaded, and loads the rest as modules. */
(() => {
  "use strict";
  const script = document.currentScript ?? document.querySelector('script[src*="/widget/kefu.js"]');
  if (window.Kefu) {
    console.warn("Kefu: the widget is on this page already");
    return;
  }
  const data = script.dataset;
  const options = {
    // The server is where the script came from, unless the page says otherwise.
    server: new URL(data.server ?? "..", data.server ? location.href : script.src).href,
    title: data.title,
    lang: data.lang,
    dir: ["rtl", "ltr"].includes(data.dir) ? data.dir : undefined,
    position: data.position === "left" ? "left" : "right",
    handoffPayload: data.handoffPayload ?? "/human_handoff",
    identity: data.identity,
    opens: data.open === "true",
  };

  const listeners = new Map();
  const emit = (name, detail) => {
    for (const listener of [...(listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        console.error(`Kefu: a listener of "${name}" failed`, error);
      }
    }
  };

  const bodyIsThere = new Promise((resolve) => {
    if (document.body) resolve();
    else document.addEventListener("DOMContentLoaded", resolve, { once: true });
  });
  let isDestroyed = false;
  const app = Promise.all([import(new URL("app.js", script.src).href), bodyIsThere])
    .then(([module]) => (isDestroyed ? null : module.mount(options, emit)))
    .catch((error) => {
      console.error("Kefu: the chat could not be loaded", error);
      emit("error", { code: "not_loaded", message: String(error) });
      return null;
    });
  const ask = (method) => (...args) => app.then((chat) => chat?.[method](...args));

  window.Kefu = Object.freeze({
    version: 1,
    open: ask("open"),
    close: ask("close"),
    toggle: ask("toggle"),
    send: ask("send"),
    identify: ask("identify"),
    setContext: ask("setContext"),
    setLocale: ask("setLocale"),
    on(name, listener) {
      if (!listeners.has(name)) listeners.set(name, new Set());
      listeners.get(name).add(listener);
      return () => listeners.get(name).delete(listener);
    },
    off(name, listener) {
      listeners.get(name)?.delete(listener);
    },
    destroy() {
      isDestroyed = true;
      return app.then((chat) => {
        chat?.destroy();
        listeners.clear();
        delete window.Kefu;
      });
    },
  });
})();
