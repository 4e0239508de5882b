/* Times in the viewer's zone: the exact ones as text with UTC beside the pointer, the relative ones beside the pointer. */
(() => {
  "use strict";
  const two = (number) => String(number).padStart(2, "0");
  const zone = (at) => new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at)
    .find((part) => part.type === "timeZoneName").value;
  const here = (at, to) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
    `${two(at.getHours())}:${two(at.getMinutes())}${to === "minutes" ? "" : `:${two(at.getSeconds())}`} ${zone(at)}`;
  const show = (one) => {
    const at = new Date(one.dateTime), exact = one.hasAttribute("data-exact");
    if (one.dataset.utc || Number.isNaN(at.getTime())) return;
    one.dataset.utc = exact ? one.textContent : one.title;
    if (!at.getTimezoneOffset()) return;
    if (exact) { one.textContent = here(at, one.dataset.exact); one.title = one.dataset.utc; } else { one.title = `${here(at)} (${one.dataset.utc})`; }
  };
  const all = () => document.querySelectorAll("time[datetime]:not([data-utc])").forEach(show);
  new MutationObserver(all).observe(document.body, { childList: true, subtree: true });
  all();
})();
