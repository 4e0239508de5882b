/* Charts from JSON endpoints: {unit, from, to, span, series: [{name, color, style, feed, points: [[ms, value|null], ...]}],
   notes: [{kind, text, at, until, moment}], made: {from, to, text}, summary: text, since: whether times are counted from
   the beginning of a trace}. One crosshair for all charts of a page, colours from CSS, a table of the same
   data below each. */
(() => {
  "use strict";
  const charts = new Map();
  const ROWS = 120, MOST = 600;
  const DAY_MS = 24 * 3600 * 1000;
  const SLOW_MS = 30000; // how often a chart that the stream has no points for is fetched anew
  let crosshair = null;

  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const color = (name) => {
    probe.style.color = `var(--hr-chart-${name})`;
    return getComputedStyle(probe).color;
  };
  window.chartColor = color; // the curve of a backtest draws with the same
  const faded = (rgb, share) => rgb.replace(/^rgba?\(([^)]*)\)$/, (_, inner) => {
    const [r, g, b] = inner.split(/[ ,]+/);
    return `rgba(${r}, ${g}, ${b}, ${share})`;
  });

  const line = {
    id: "crosshair",
    afterDraw(chart) {
      if (crosshair === null || chart.config.type === "bar") return;
      const x = chart.scales.x.getPixelForValue(crosshair);
      const { top, bottom, left, right } = chart.chartArea;
      if (x < left || x > right) return;
      chart.ctx.save();
      chart.ctx.strokeStyle = color("grid-strong");
      chart.ctx.beginPath();
      chart.ctx.moveTo(x, top);
      chart.ctx.lineTo(x, bottom);
      chart.ctx.stroke();
      chart.ctx.restore();
    },
    // Before the tooltip is made, which says what is at the crosshair.
    beforeEvent(chart, { event }) {
      // A click on a time leads to what explains it.
      const { chartExplain: address } = chart.canvas.dataset, { chartArea: area } = chart;
      if (event.type === "click" && address && event.x >= area.left && event.x <= area.right && event.y >= area.top && event.y <= area.bottom) {
        const at = new Date(Math.min(chart.scales.x.getValueForPixel(event.x), Date.now()));
        window.location.assign(`${address}?at=${encodeURIComponent(at.toISOString())}`);
      }
      const value = event.type === "mouseout" ? null : chart.scales.x.getValueForPixel(event.x);
      if (value === crosshair) return;
      crosshair = value;
      for (const { chart: other } of charts.values()) if (other) other.draw();
    },
  };

  /* What the pointer is over: of a line the nearest point, of what holds until it changes (steps, limits) the last one
     before, of bars those of the nearest day. Chart.js's own mode "index" would put points of different times together. */
  const under = (chart, event) => {
    const { x: at } = Chart.helpers.getRelativePosition(event, chart);
    const found = [];
    for (const meta of chart.getSortedVisibleDatasetMetas()) {
      const points = meta.data;
      let next = 0, end = points.length;
      while (next < end) {
        const middle = (next + end) >> 1;
        if (points[middle].x <= at) next = middle + 1; else end = middle;
      }
      let index = next - 1;
      const nearer = index < 0 || (next < points.length && points[next].x - at < at - points[index].x);
      if (nearer && !chart.data.datasets[meta.index].holds) index = next;
      const element = points[index];
      if (element && !element.skip) found.push({ element, datasetIndex: meta.index, index });
    }
    if (chart.config.type !== "bar") return found;
    const nearest = Math.min(...found.map(({ element }) => Math.abs(element.x - at)));
    return found.filter(({ element }) => Math.abs(element.x - at) <= nearest + 1);
  };

  /* Notes, holds and revisions, drawn on every chart of the page: a line for a moment, a band for what lasts. Labels stand
     on three levels, so that neighbours do not cover each other; the tooltip says the whole text. */
  const MARKS = { note: "accent", hold: "warn", revision: "idle" };
  const LEVELS = 3, SHORT = 22, NEAR_PX = 6;
  const shortened = (text) => (text.length > SHORT ? `${text.slice(0, SHORT - 1)}…` : text);
  const label = (note, place, rgb, position) => ({
    display: true, content: shortened(note.text), position, yAdjust: (place % LEVELS) * 15, color: rgb,
    backgroundColor: getComputedStyle(document.body).getPropertyValue("--tblr-bg-surface") || "transparent",
    font: { size: 10, weight: "normal" }, padding: { x: 3, y: 1 },
  });
  const drawn = (note, place) => {
    const rgb = color(MARKS[note.kind] ?? "idle");
    if (note.moment) {
      return { type: "line", scaleID: "x", value: note.at, borderColor: rgb, borderWidth: 1.2, borderDash: [2, 3], label: label(note, place, rgb, "start") };
    }
    const band = { type: "box", xMin: note.at, borderWidth: 0, backgroundColor: faded(rgb, 0.1), drawTime: "beforeDatasetsDraw" };
    if (note.until !== null) band.xMax = note.until;
    return { ...band, label: { ...label(note, place, rgb, { x: "start", y: "start" }), backgroundColor: "transparent" } };
  };
  // The part that was made afterwards lies on a ground of its own, named in the legend and beside each row of the table.
  const ground = () => faded(color("idle"), 0.2);
  const annotated = ({ notes, made }) => Object.fromEntries([
    ...(made ? [["made", { type: "box", xMin: made.from, xMax: made.to, borderWidth: 0, backgroundColor: ground(), drawTime: "beforeDatasetsDraw" }]] : []),
    ...(notes ?? []).map((note, place) => [`note-${place}`, drawn(note, place)]),
  ]);
  const isMade = ({ made }, at) => Boolean(made) && made.from <= at && at < made.to;
  const legend = (made) => {
    const usual = Chart.defaults.plugins.legend;
    const swatch = () => ({ text: made.text, fontColor: color("text"), fillStyle: ground(), strokeStyle: ground(), lineWidth: 8 });
    return {
      position: "top", align: "start",
      labels: { color: color("text"), boxWidth: 14, boxHeight: 2, padding: 12, generateLabels: (chart) => [...usual.labels.generateLabels(chart), ...(made ? [swatch()] : [])] },
      onClick: (event, item, its) => { if (item.datasetIndex !== undefined) usual.onClick.call(its, event, item, its); },
    };
  };
  const noted = (items) => {
    if (!items.length || crosshair === null) return [];
    const { chart } = items[0], { x } = chart.scales;
    const near = (note) => (note.moment
      ? Math.abs(x.getPixelForValue(note.at) - x.getPixelForValue(crosshair)) <= NEAR_PX
      : note.at <= crosshair && (note.until === null || crosshair <= note.until));
    const { notes, made } = chart.config.options;
    return [...(notes ?? []).filter(near).map((note) => note.text), ...(isMade({ made }, crosshair) ? [made.text] : [])];
  };

  // A trace has no date: its times are hours, minutes and seconds since it began.
  const since = (ms) => {
    const seconds = Math.round(ms / 1000), two = (value) => String(value).padStart(2, "0");
    return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  };

  const moment = (items) => {
    if (!items.length) return "";
    const { chart } = items[0];
    const value = chart.config.type === "bar" ? items[0].parsed.x : crosshair;
    if (value === null) return "";
    return chart.config.options.since ? `${since(value)} after the beginning` : chart.scales.x.getLabelForValue(value);
  };

  const dataset = (series, kind) => {
    const rgb = color(series.color);
    const area = series.style === "area";
    return {
      label: series.name,
      data: series.points.map(([x, y]) => ({ x, y })),
      borderColor: rgb,
      backgroundColor: kind === "bar" ? rgb : faded(rgb, 0.16),
      borderWidth: kind === "bar" ? 0 : 1.6,
      borderDash: series.style === "dashed" ? [4, 4] : [],
      stepped: series.style === "step" ? "before" : false,
      holds: series.style === "step" || series.style === "dashed",
      fill: area ? "origin" : false,
      pointRadius: 0,
      pointHitRadius: 8,
      spanGaps: false,
      clip: 4, // half a line at the very top is still to be seen
      maxBarThickness: 28,
    };
  };

  const options = (data, kind) => ({
    animation: false,
    maintainAspectRatio: false,
    notes: data.notes,
    made: data.made,
    since: data.since,
    normalized: true,
    interaction: { mode: "under", intersect: false },
    scales: {
      x: {
        type: data.since ? "linear" : "time",
        min: data.from, max: data.to,
        title: { display: Boolean(data.since), text: "since the trace begins", color: color("text") },
        time: { tooltipFormat: kind === "bar" ? "d MMM" : data.to - data.from > DAY_MS ? "d MMM HH:mm:ss" : "HH:mm:ss", displayFormats: { second: "HH:mm:ss", minute: "HH:mm", hour: "HH:mm", day: "d MMM" }, unit: kind === "bar" ? "day" : undefined },
        grid: { color: color("grid") }, ticks: { color: color("text"), maxRotation: 0, autoSkipPadding: 24, ...(data.since ? { callback: since, maxTicksLimit: 7 } : {}) }, border: { display: false },
        stacked: kind === "bar", offset: kind === "bar",
      },
      y: { beginAtZero: true, title: { display: true, text: data.unit, color: color("text") }, max: data.unit === "%" ? 100 : undefined, grace: data.unit === "%" ? 0 : "8%", grid: { color: color("grid") }, ticks: { color: color("text"), precision: data.unit === "s" ? undefined : 0, maxTicksLimit: 6 }, border: { display: false }, stacked: kind === "bar" },
    },
    plugins: {
      legend: legend(data.made),
      annotation: { annotations: annotated(data) },
      tooltip: { position: "pointer", callbacks: { title: moment, footer: noted, label: (item) => `${item.dataset.label}: ${item.formattedValue} ${data.unit}` } },
    },
  });

  const details = (canvas) => document.getElementById(`${canvas.id}-table`)?.closest("details");
  const isOpen = (canvas) => details(canvas)?.open;

  const table = (canvas, data) => {
    const holder = document.getElementById(`${canvas.id}-table`);
    if (!holder) return;
    const body = document.createElement("table");
    body.className = "table table-sm";
    const head = body.createTHead().insertRow();
    const titles = ["Time", ...data.series.map((one) => `${one.name} (${data.unit})`), ...(data.made ? ["From"] : [])];
    for (const title of titles) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = title;
      head.append(cell);
    }
    const rows = new Map();
    data.series.forEach((one, place) => {
      for (const [at, value] of one.points) {
        if (!rows.has(at)) rows.set(at, []);
        rows.get(at)[place] = value;
      }
    });
    const times = [...rows.keys()].sort((a, b) => b - a).slice(0, ROWS);
    if (rows.size > ROWS) body.createCaption().textContent = `The newest ${ROWS} of ${rows.size} moments.`;
    const tbody = body.createTBody();
    for (const at of times) {
      const row = tbody.insertRow();
      row.insertCell().textContent = data.since ? since(at) : new Date(at).toLocaleString();
      data.series.forEach((_, place) => { row.insertCell().textContent = rows.get(at)[place] ?? ""; });
      if (data.made) row.insertCell().textContent = isMade(data, at) ? "simulation, made afterwards" : "samples";
    }
    holder.replaceChildren(body);
  };

  const draw = (entry) => {
    const { canvas, data, kind } = entry;
    const config = { type: kind === "bar" ? "bar" : "line", data: { datasets: data.series.map((one) => dataset(one, kind)) }, options: options(data, kind), plugins: [line] };
    if (entry.chart) {
      entry.chart.data = config.data;
      entry.chart.options = config.options;
      entry.chart.update("none");
    } else {
      entry.chart = new Chart(canvas, config);
    }
    table(canvas, data);
  };

  const say = (entry, text) => {
    entry.note?.remove();
    entry.note = null;
    if (!text) return;
    entry.note = document.createElement("p");
    entry.note.setAttribute("role", "status");
    entry.note.className = "hr-chart-note";
    entry.note.textContent = text;
    entry.canvas.after(entry.note);
  };

  const summarise = ({ canvas, data }) => {
    const holder = document.getElementById(`${canvas.id}-summary`);
    if (!holder) return;
    holder.textContent = data.summary ?? "";
    holder.hidden = !data.summary;
  };

  const load = async (entry) => {
    const url = new URL(entry.canvas.dataset.chartUrl, location.href);
    const range = new URLSearchParams(location.search).get("range");
    if (range) url.searchParams.set("range", range);
    entry.loaded = Date.now();
    const turn = entry.turn = (entry.turn ?? 0) + 1;
    let data = null;
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (answer.ok) data = await answer.json();
    } catch { /* the stream or the next poll tries again */ }
    if (turn !== entry.turn) return; // asked again since: that answer counts
    if (data) {
      entry.data = data;
      say(entry, "");
      summarise(entry);
      draw(entry);
    } else if (!entry.data) {
      say(entry, "This chart's data did not come. It is asked for again.");
    }
  };

  /* An event of the stream: each series goes on with the value of its feed, and the window moves along. Where a chart
     has more than 600 places for its range, the newest point is moved instead of a new one added. */
  const append = (entry, at, values) => {
    const { data, chart } = entry;
    if (!data.series.some((one) => one.feed in values) || at <= data.to) return;
    const step = data.span / MOST;
    data.to = at;
    data.from = Math.max(data.from, at - data.span);
    data.series.forEach((one, place) => {
      if (!(one.feed in values)) return;
      const drawn = chart.data.datasets[place].data;
      const { points } = one;
      const dense = points.length > 1 && at - points[points.length - 2][0] < step;
      if (dense) { points.pop(); drawn.pop(); }
      points.push([at, values[one.feed]]);
      drawn.push({ x: at, y: values[one.feed] });
      // One point before the window stays: a line begins at the edge, not inside.
      while (points.length > 2 && points[1][0] < data.from) { points.shift(); drawn.shift(); }
    });
    Object.assign(chart.options.scales.x, { min: data.from, max: data.to });
    chart.update("none");
    if (isOpen(entry.canvas)) table(entry.canvas, data);
  };

  const collect = () => {
    for (const canvas of document.querySelectorAll("canvas[data-chart-url]")) {
      if (charts.has(canvas)) continue;
      charts.set(canvas, { canvas, kind: canvas.dataset.chartKind || "line", topics: (canvas.dataset.chartTopic || "").split(" "), chart: null, data: null });
      const entry = charts.get(canvas);
      details(canvas)?.addEventListener("toggle", () => { if (entry.data && isOpen(canvas)) table(canvas, entry.data); });
      load(entry);
    }
  };

  document.addEventListener("theme", () => { for (const entry of charts.values()) if (entry.data) draw(entry); });
  document.addEventListener("refresh-charts", (event) => {
    for (const entry of charts.values()) if (!event.detail || entry.topics.includes(event.detail)) load(entry);
  });
  document.addEventListener("points", (event) => {
    const { topic, at, values } = event.detail;
    for (const entry of charts.values()) {
      if (!entry.chart) continue;
      if (entry.data.series.some((one) => one.feed)) append(entry, at, values);
      else if (entry.topics.includes(topic) && Date.now() - entry.loaded > SLOW_MS) load(entry);
    }
  });
  if (window.Chart) {
    Chart.Interaction.modes.under = under;
    Chart.Tooltip.positioners.pointer = (items, { x, y }) => (items.length ? { x, y } : false);
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 11;
    collect();
  }
})();
