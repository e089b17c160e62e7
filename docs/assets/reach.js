// What the theme leaves out for those who use keys or hear the page: names of regions, focus on code that scrolls.
(() => {
  "use strict";
  const reach = () => {
    for (const search of document.querySelectorAll(".md-search[role=dialog]:not([aria-label])")) search.setAttribute("aria-label", "Search");
    for (const box of document.querySelectorAll("pre > code, .md-typeset table, .md-typeset .wide")) {
      if (box.tabIndex !== 0 && (box.tagName === "CODE" || box.scrollWidth > box.clientWidth)) box.tabIndex = 0;
    }
    document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((nav) => {
      const all = [...document.querySelectorAll(".md-code__nav")];
      nav.setAttribute("aria-label", `Code ${all.indexOf(nav) + 1}`);
    });
  };
  new MutationObserver(reach).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["tabindex"] });
  addEventListener("resize", reach);
  addEventListener("load", reach);
  reach();
})();
