// The lineage of one node; the tables below it say the same.
(() => {
  "use strict";
  const place = document.getElementById("lineage");
  if (!place) return;
  const data = JSON.parse(document.getElementById("lineage-data").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // What tells two nodes apart stands at the end.
  const shortened = (ref) => (ref.length > 28 ? `${ref.slice(0, 15)}…${ref.slice(-12)}` : ref);
  const elements = [
    ...data.nodes.map((node) => ({
      data: { id: node.id, label: shortened(node.id), kind: node.kind.replace("_", " ") }, position: { x: node.x, y: node.y },
      classes: `${node.side}${node.changed ? " changed" : ""}`,
    })),
    ...data.edges.map((edge) => ({ data: { ...edge, id: `${edge.source} ${edge.target}` } })),
  ];

  const style = () => [
    { selector: "node", style: {
      label: "data(label)", shape: "round-rectangle", width: 200, height: 38, "text-valign": "center", "font-size": 11,
      "font-family": "ui-monospace, Menlo, Consolas, monospace", color: colour("--ink"), "background-color": colour("--card"),
      "border-width": 1.5, "border-color": colour("--soft"), "text-max-width": 192, "text-wrap": "ellipsis",
    } },
    { selector: ".root", style: { "background-color": colour("--accent"), color: colour("--accent-ink"), "border-color": colour("--accent") } },
    { selector: ".down", style: { "background-color": colour("--tint") } },
    { selector: ".changed", style: { "border-color": colour("--c1"), "border-width": 3 } },
    { selector: "edge", style: {
      width: 1.5, "line-color": colour("--soft"), "target-arrow-color": colour("--soft"), "target-arrow-shape": "triangle",
      "arrow-scale": 0.8, "curve-style": "bezier", opacity: 0.55,
    } },
  ];

  function draw() {
    const graph = cytoscape({
      container: place, elements, style: style(), layout: { name: "preset", fit: true, padding: 24 },
      autoungrabify: true, minZoom: 0.15, maxZoom: 2, boxSelectionEnabled: false,
    });
    if (graph.zoom() > 1.1) { graph.zoom(1.1); graph.center(); }
    if (graph.zoom() < 0.7) { graph.zoom(0.7); graph.center(graph.nodes(".root")); }
    // The wheel scrolls the page; with Ctrl it zooms.
    place.addEventListener("wheel", (event) => { if (!event.ctrlKey) event.stopImmediatePropagation(); }, { capture: true });
    graph.on("tap", "node", (event) => { location.href = data.base + encodeURIComponent(event.target.id()); });
    graph.on("mouseover", "node", () => { place.classList.add("over"); });
    graph.on("mouseout", "node", () => { place.classList.remove("over"); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.style(style()));
  }

  // The library is large, so the page is shown before it is read.
  const { library } = document.currentScript.dataset;
  requestAnimationFrame(() => setTimeout(() => {
    const script = document.createElement("script");
    script.src = library;
    script.addEventListener("load", draw);
    document.head.append(script);
  }));
})();
