/* First and not deferred, so that the page never shows in the wrong colours. Auto follows the system, and is what a
   browser without a choice has. A choice holds in all tabs. */
(() => {
  "use strict";
  const CHOICES = ["auto", "light", "dark"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const known = (name) => (CHOICES.includes(name) ? name : "auto");
  const kept = () => { try { return known(localStorage.getItem("theme")); } catch { return "auto"; } };
  let choice = kept();

  const show = () => {
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      for (const face of button.querySelectorAll("[data-theme-face]")) face.hidden = face.dataset.themeFace !== choice;
    }
  };
  const apply = () => {
    document.documentElement.dataset.bsTheme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    show();
    document.dispatchEvent(new Event("theme"));
  };
  const choose = (name) => {
    choice = name;
    try { localStorage.setItem("theme", name); } catch { /* nothing may be kept: for this page alone */ }
    apply();
  };

  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", (event) => { if (event.key === "theme") { choice = known(event.newValue); apply(); } });
  addEventListener("DOMContentLoaded", () => {
    show();
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.addEventListener("click", () => choose(CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length]));
    }
  });
})();
