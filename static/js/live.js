/* One event stream a page. An event says which topic changed and carries the new chart points; parts of the page of that
   topic are fetched anew, at most every 3 seconds. After a gap everything is. A hidden tab closes its stream (browsers
   allow six connections). Without the stream: polling, and the page says so. */
(() => {
  "use strict";
  const address = document.body.dataset.live;
  if (!address) return;
  const state = document.getElementById("live-state");
  const EVERY_MS = 3000, PATIENCE_MS = 5000, POLL_MS = 10000;
  const waiting = new Set();
  let stream = null, timer = null, lost = null, poll = null, missed = false;

  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };

  // A part that somebody is in, by keyboard, with open details or with boxes ticked, is left alone until they leave it.
  const busy = (part) => part.contains(document.activeElement) || part.querySelector("details[open], input[type=checkbox]:checked");
  const parts = (topic) => {
    for (const part of document.querySelectorAll(topic ? `[data-live-topic~="${topic}"]` : "[data-live-topic]")) {
      const names = part.dataset.liveParts;
      if (!names) { if (!busy(part)) htmx.trigger(part, "live"); continue; }
      // One request for several parts of the page, which come out of band.
      const free = names.split(" ").filter((name) => { const one = document.getElementById(name); return one && !busy(one); });
      if (!free.length) continue;
      part.setAttribute("hx-select-oob", free.map((name) => `#${name}`).join(","));
      htmx.trigger(part, "live");
    }
  };
  const everything = () => { tell("refresh-charts", null); parts(null); };
  const flush = () => { timer = null; const topics = [...waiting]; waiting.clear(); topics.forEach(parts); };

  const heard = (event) => {
    if (event.topic === "reconnected") { everything(); return; }
    if (event.values) tell("points", event); else tell("refresh-charts", event.topic);
    waiting.add(event.topic);
    timer ??= setTimeout(flush, EVERY_MS);
  };

  const found = () => {
    clearTimeout(lost); clearInterval(poll);
    lost = poll = null;
    say("Live");
    if (missed) everything();
    missed = false;
  };
  const gone = () => {
    missed = true;
    lost ??= setTimeout(() => {
      say("Live updates are lost; looking every 10 seconds.");
      poll ??= setInterval(everything, POLL_MS);
    }, PATIENCE_MS);
    // After an answer that is no stream the browser does not try again by itself.
    if (stream?.readyState === EventSource.CLOSED) { stream = null; setTimeout(open, POLL_MS); }
  };

  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(address);
    stream.addEventListener("open", found);
    stream.addEventListener("message", (event) => heard(JSON.parse(event.data)));
    stream.addEventListener("error", gone);
  };
  const close = () => {
    stream?.close();
    clearTimeout(lost); clearInterval(poll);
    stream = lost = poll = null;
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); } else { everything(); open(); }
  });
  addEventListener("pagehide", close);
  // Back from the browser's own cache the page is old and has no stream.
  addEventListener("pageshow", (event) => { if (event.persisted) { everything(); open(); } });
  open();
})();
