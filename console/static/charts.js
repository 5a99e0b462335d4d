// Metrics of versions with their intervals, from the JSON beside each chart; the table below says the same.
(() => {
  "use strict";
  const HEIGHT = 280, DAY = 86400;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A line as uPlot takes it: the values, and where they have an interval its two bounds, which the legend leaves out.
  function seriesOf(own, n, alone) {
    const ink = colour(`--c${own.ink % 7}`);
    const quiet = { class: "quiet", stroke: "transparent", width: 0, points: { show: false } };
    const style = own.flat ? { width: 1.5, dash: [6, 5] } : { width: 2 };
    const shown = { label: own.label, value: (_, value) => (value == null ? "" : value.toFixed(4)), stroke: ink, ...style, points: { show: !own.flat || alone, size: 9, fill: ink } };
    return own.low ? [shown, { ...quiet, label: `from ${n}` }, { ...quiet, label: `to ${n}` }] : [shown];
  }

  // A little beyond the first and the last point.
  function range(data) {
    const low = data.places[0], high = data.places.at(-1);
    const beyond = 0.08 * (high - low) || (data.time ? 7 * DAY : Math.max(0.4, 0.1 * high));
    return [low - (data.axis ? beyond : 0.4), high + (data.axis ? beyond : 0.4)];
  }

  // What the legend says of a place: the version, and how much it knew.
  function told(data, at) {
    if (at == null) return "";
    const label = data.labels[data.places.indexOf(at)] ?? "";
    if (!data.axis) return label;
    return `${label}, ${data.time ? new Date(1000 * at).toISOString().slice(0, 10) : at.toLocaleString("en")}`;
  }

  const day = (at) => new Date(1000 * at).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

  function options(width, data) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const names = { splits: () => data.places, values: (_, at) => at.map((n) => data.labels[n] ?? "") };
    const times = data.time ? { values: (_, at) => at.map(day), space: 80 } : {};
    const under = data.axis ? { label: data.axis, labelFont: "12px system-ui", labelSize: 26, size: 30, ...times } : names;
    const series = [{ label: data.axis ?? "version", value: (_, at) => told(data, at) }], bands = [];
    data.series.forEach((own, n) => {
      if (own.low) bands.push({ series: [series.length + 2, series.length + 1], fill: `${colour(`--c${own.ink % 7}`)}22` });
      series.push(...seriesOf(own, n, data.places.length === 1));
    });
    return {
      width, height: HEIGHT, cursor: { y: false }, series, bands,
      scales: { x: { time: data.time, range: () => range(data) } },
      axes: [{ ...axis, ...under }, { ...axis, size: 64, values: (_, at) => at.map((value) => value.toFixed(3)) }],
    };
  }

  function draw(place) {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const columns = data.series.flatMap((own) => (own.low ? [own.values, own.low, own.high] : [own.values]));
    place.replaceChildren();
    return new uPlot(options(place.clientWidth, data), [data.places, ...columns], place);
  }

  document.querySelectorAll("[data-chart]").forEach((place) => {
    let plot = draw(place);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { plot = draw(place); });
  });
})();
