// Metrics of versions with their intervals, from the JSON beside each chart; the table below says the same.
(() => {
  "use strict";
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function options(width, data) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const line = colour("--c0");
    const baselines = Object.keys(data.baselines).map((label, n) => (
      { label, stroke: colour(`--c${1 + (n % 7)}`), dash: [6, 5], width: 1.5, points: { show: false } }
    ));
    return {
      width, height: 280, cursor: { y: false },
      scales: { x: { time: false, range: (_, low, high) => [low - 0.4, high + 0.4] } },
      axes: [
        { ...axis, splits: () => data.labels.map((_, n) => n), values: (_, at) => at.map((n) => data.labels[n] ?? "") },
        { ...axis, size: 64, values: (_, at) => at.map((value) => value.toFixed(3)) },
      ],
      series: [
        { label: "version", value: (_, n) => (n == null ? "" : data.labels[n]) },
        { label: data.metric, stroke: line, width: 2, points: { show: true, size: 9, fill: line } },
        { label: "from", class: "quiet", stroke: "transparent", points: { show: false } },
        { label: "to", class: "quiet", stroke: "transparent", points: { show: false } },
        ...baselines,
      ],
      bands: [{ series: [3, 2], fill: `${line}22` }],
    };
  }

  function draw(place) {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const at = data.labels.map((_, n) => n);
    const flat = Object.values(data.baselines).map((value) => at.map(() => value));
    place.replaceChildren();
    return new uPlot(options(place.clientWidth, data), [at, data.values, data.low, data.high, ...flat], place);
  }

  document.querySelectorAll("[data-chart]").forEach((place) => {
    let plot = draw(place);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 280 })).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { plot = draw(place); });
  });
})();
