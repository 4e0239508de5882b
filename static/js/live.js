/* One event stream a page. An event says which topic changed; charts and parts of that topic are fetched anew, at most
   every 3 seconds. A hidden tab closes its stream (browsers allow six connections). Without the stream: polling. */
(() => {
  "use strict";
  const address = document.body.dataset.live;
  if (!address) return;
  const state = document.getElementById("live-state");
  const EVERY_MS = 3000, POLL_MS = 10000;
  const waiting = new Set();
  let stream = null, timer = null, poll = null;

  const refresh = (topic) => {
    document.dispatchEvent(new CustomEvent("refresh-charts", { detail: topic }));
    const selector = topic ? `[data-live-topic~="${topic}"]` : "[data-live-topic]";
    for (const part of document.querySelectorAll(selector)) {
      // A part that somebody types in is left alone.
      if (!part.contains(document.activeElement) || document.activeElement === document.body) htmx.trigger(part, "live");
    }
  };
  const flush = () => { timer = null; const topics = [...waiting]; waiting.clear(); topics.forEach(refresh); };
  const note = (topic) => { waiting.add(topic); timer ??= setTimeout(flush, EVERY_MS); };
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };

  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(address);
    stream.addEventListener("open", () => { clearInterval(poll); poll = null; say("Live"); });
    stream.addEventListener("message", (event) => note(JSON.parse(event.data).topic));
    stream.addEventListener("error", () => {
      say("Live updates are lost; looking every 10 seconds.");
      poll ??= setInterval(() => refresh(null), POLL_MS);
    });
  };
  const close = () => { stream?.close(); stream = null; clearInterval(poll); poll = null; };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); } else { refresh(null); open(); }
  });
  addEventListener("pagehide", close);
  open();
})();
