/* The curve of a backtest: {curve: [{x, y, label}], sides: [{name, color, x, y, peer}]}; x is GPU-hours, y percent of the
   requests that waited at most a second. The page has the same as a table. */
(() => {
  "use strict";
  const canvas = document.querySelector("canvas[data-curve-url]");
  if (!canvas || !window.Chart) return;
  const color = window.chartColor;
  let data = null, chart = null;

  const line = () => ({
    label: "As set, over its target", data: data.curve, showLine: true, borderColor: color("idle"),
    backgroundColor: color("idle"), borderWidth: 1.4, pointRadius: 2.5,
  });
  const point = (side) => ({
    label: side.name, data: [{ x: side.x, y: side.y }], borderColor: color(side.color), backgroundColor: color(side.color),
    pointRadius: 6, pointHoverRadius: 7, pointStyle: side.peer ? "triangle" : "circle",
  });
  const axis = (title, more) => ({
    title: { display: true, text: title, color: color("text") }, grid: { color: color("grid") }, ticks: { color: color("text") },
    border: { display: false }, ...more,
  });
  const said = ({ dataset, raw }) => `${raw.label ? `As set with ${raw.label}` : dataset.label}: ${raw.y.toFixed(2)} % within 1 s, ${raw.x.toFixed(2)} GPU-hours`;
  const options = () => ({
    animation: false,
    maintainAspectRatio: false,
    scales: { x: axis("GPU-hours", { beginAtZero: true }), y: axis("% waited at most 1 s", { max: 100, grace: "5%" }) },
    plugins: {
      legend: { position: "top", align: "start", labels: { color: color("text"), usePointStyle: true, boxHeight: 6, padding: 12 } },
      tooltip: { callbacks: { label: said } },
    },
  });
  const draw = () => {
    chart?.destroy();
    const known = (one) => one.y !== null;
    data = { curve: data.curve.filter(known), sides: data.sides.filter(known) };
    chart = new Chart(canvas, { type: "scatter", data: { datasets: [...data.sides.map(point), line()] }, options: options() });
  };

  fetch(canvas.dataset.curveUrl, { headers: { Accept: "application/json" } })
    .then((answer) => (answer.ok ? answer.json() : null))
    .then((found) => { if (found) { data = found; draw(); } });
  document.addEventListener("theme", () => { if (data) draw(); });
})();
