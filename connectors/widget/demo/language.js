/* Before the first paint: the language of the page, so that nothing flickers and the widget finds it. */
(() => {
  "use strict";
  const wish = new URLSearchParams(location.search).get("lang") ?? navigator.language;
  document.documentElement.lang = wish.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
})();
