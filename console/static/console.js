// Small things that every page has: pictures that are gone, and words of htmx for screen readers.
(() => {
  "use strict";
  document.addEventListener("error", (event) => {
    if (event.target.tagName !== "IMG") return;
    const blank = document.createElement("span");
    blank.className = "blank";
    event.target.replaceWith(blank);
  }, true);
  document.addEventListener("htmx:beforeRequest", (event) => event.detail.target.setAttribute("aria-busy", "true"));
  document.addEventListener("htmx:afterRequest", (event) => event.detail.target.removeAttribute("aria-busy"));
})();
