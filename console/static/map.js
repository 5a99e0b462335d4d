// The map of products: points on a canvas, what lies under the pointer, and what a lasso holds.
(() => {
  "use strict";
  const REACH = 32000, NEAR = 12, CELLS = 128, MANY = 20000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  class ProductMap {
    constructor(canvas, buffer) {
      const count = Number(canvas.dataset.count);
      this.canvas = canvas;
      this.pen = canvas.getContext("2d");
      this.places = new Int16Array(buffer, 0, 2 * count);
      [this.category, this.price, this.cold] = [0, 1, 2].map((n) => new Uint8Array(buffer, (4 + n) * count, count));
      this.view = { x: 0, y: 0, scale: 1 };
      this.by = "category";
      this.grid = this.gathered();
      this.size();
    }

    get count() { return this.places.length / 2; }

    // Rows by cell, so that the nearest one is found without looking at all.
    gathered() {
      const cells = new Map();
      for (let row = 0; row < this.count; row++) {
        const key = this.cell(this.places[2 * row]) * CELLS + this.cell(this.places[2 * row + 1]);
        if (!cells.has(key)) cells.set(key, []);
        cells.get(key).push(row);
      }
      return cells;
    }

    cell(value) { return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + REACH) / (2 * REACH)) * CELLS))); }

    size() {
      const ratio = devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
      this.canvas.width = Math.round(box.width * ratio);
      this.canvas.height = Math.round(box.height * ratio);
      this.ratio = ratio;
      this.draw();
    }

    // Pixels of one step on each axis: the axes have no common measure.
    get across() { return (this.canvas.width / (2 * REACH)) * this.view.scale; }
    get up() { return (this.canvas.height / (2 * REACH)) * this.view.scale; }
    onScreen(x, y) { return [this.canvas.width / 2 + (x - this.view.x) * this.across, this.canvas.height / 2 - (y - this.view.y) * this.up]; }
    onMap(x, y) { return [(x - this.canvas.width / 2) / this.across + this.view.x, (this.canvas.height / 2 - y) / this.up + this.view.y]; }

    // Rows by colour: a canvas is slow to change colours, not to draw.
    coloured() {
      const groups = new Map();
      const pick = {
        category: (row) => (this.category[row] < 7 ? this.category[row] : 7),
        price: (row) => (this.price[row] === 255 ? 99 : this.price[row] >> 5),
        cold: (row) => this.cold[row],
      }[this.by];
      for (let row = 0; row < this.count; row++) {
        const key = pick(row);
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(row);
      }
      return groups;
    }

    ink(key) {
      if (this.by === "category") return colour(`--c${key}`);
      if (this.by === "cold") return colour(key ? "--c1" : "--c7");
      return key === 99 ? colour("--line") : `color-mix(in oklab, ${colour("--c2")} ${20 + key * 11}%, ${colour("--card")})`;
    }

    // A colour of the page as a pixel.
    pixel(name) {
      const small = document.createElement("canvas").getContext("2d");
      small.fillStyle = name;
      small.fillRect(0, 0, 1, 1);
      return new Uint32Array(small.getImageData(0, 0, 1, 1).data.buffer)[0];
    }

    draw(lasso) {
      const dot = Math.max(1.5, (this.count > MANY ? 1.4 : this.count > 3000 ? 2.4 : 4.5) * this.ratio * Math.sqrt(this.view.scale));
      this.groups ??= this.coloured();
      if (this.count > MANY) this.pixels(Math.round(dot)); else this.squares(dot);
      if (this.marked !== undefined) this.ring(this.marked, dot);
      if (lasso && lasso.length > 1) this.rope(lasso);
    }

    // Many points are written as pixels, ten times as fast as they are drawn.
    pixels(dot) {
      const { width, height } = this.canvas, { across, up } = this, sheet = this.pen.createImageData(width, height);
      const ink = new Uint32Array(sheet.data.buffer), left = width / 2 - this.view.x * across, top = height / 2 + this.view.y * up;
      for (const [key, rows] of this.groups) {
        const colour = this.pixel(this.ink(key));
        for (const row of rows) {
          const x = Math.round(left + this.places[2 * row] * across), y = Math.round(top - this.places[2 * row + 1] * up);
          if (x < 0 || y < 0 || x + dot > width || y + dot > height) continue;
          for (let line = y; line < y + dot; line++) ink.fill(colour, line * width + x, line * width + x + dot);
        }
      }
      this.pen.putImageData(sheet, 0, 0);
    }

    squares(dot) {
      const pen = this.pen;
      pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
      pen.globalAlpha = 0.85;
      const { across, up } = this, left = this.canvas.width / 2 - this.view.x * across, top = this.canvas.height / 2 + this.view.y * up;
      for (const [key, rows] of this.groups) {
        pen.fillStyle = this.ink(key);
        for (const row of rows) pen.fillRect(left + this.places[2 * row] * across - dot / 2, top - this.places[2 * row + 1] * up - dot / 2, dot, dot);
      }
      pen.globalAlpha = 1;
    }

    ring(row, dot) {
      const [x, y] = this.onScreen(this.places[2 * row], this.places[2 * row + 1]);
      this.pen.strokeStyle = colour("--ink");
      this.pen.lineWidth = 2 * this.ratio;
      this.pen.beginPath();
      this.pen.arc(x, y, dot + 4 * this.ratio, 0, 7);
      this.pen.stroke();
    }

    rope(lasso) {
      this.pen.strokeStyle = colour("--accent");
      this.pen.fillStyle = `${colour("--accent")}22`;
      this.pen.lineWidth = 2 * this.ratio;
      this.pen.beginPath();
      lasso.forEach(([x, y], n) => { const at = this.onScreen(x, y); n ? this.pen.lineTo(...at) : this.pen.moveTo(...at); });
      this.pen.closePath();
      this.pen.fill();
      this.pen.stroke();
    }

    nearest(x, y) {
      const [mx, my] = this.onMap(x, y), { across, up } = this, reach = NEAR * this.ratio;
      let best, least = reach * reach;
      for (let cx = this.cell(mx - reach / across); cx <= this.cell(mx + reach / across); cx++) {
        for (let cy = this.cell(my - reach / up); cy <= this.cell(my + reach / up); cy++) {
          for (const row of this.grid.get(cx * CELLS + cy) ?? []) {
            const far = ((this.places[2 * row] - mx) * across) ** 2 + ((this.places[2 * row + 1] - my) * up) ** 2;
            if (far < least) [best, least] = [row, far];
          }
        }
      }
      return best;
    }

    inside(lasso) {
      const held = [];
      for (let row = 0; row < this.count; row++) {
        const x = this.places[2 * row], y = this.places[2 * row + 1];
        let odd = false;
        for (let n = 0, m = lasso.length - 1; n < lasso.length; m = n++) {
          const [ax, ay] = lasso[n], [bx, by] = lasso[m];
          if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
        }
        if (odd) held.push(row);
      }
      return held;
    }
  }

  function spread(rows, most) {
    const step = Math.max(1, Math.ceil(rows.length / most));
    return rows.filter((_, n) => n % step === 0).slice(0, most);
  }

  function connect(map) {
    const canvas = map.canvas, pointed = document.getElementById("pointed"), circled = document.getElementById("circled");
    let lasso, drag, waiting, turn = 0;
    const at = (event) => [event.offsetX * map.ratio, event.offsetY * map.ratio];
    const ask = async (rows) => {
      const answer = await fetch(`${canvas.dataset.products}?rows=${rows.join(",")}`, { headers: { "HX-Request": "true" } });
      return answer.text();
    };

    async function point(x, y) {
      const row = map.nearest(x, y);
      if (row === map.marked) return;
      map.marked = row;
      map.draw();
      pointed.hidden = row === undefined;
      const mine = ++turn;
      clearTimeout(waiting);
      if (row === undefined) return;
      waiting = setTimeout(async () => {
        const text = await ask([row]);
        if (mine !== turn) return;
        pointed.innerHTML = text;
        pointed.classList.toggle("right", x < canvas.width / 2);
      }, 60);
    }

    async function list(rows) {
      if (!rows.length) { circled.replaceChildren(); return; }
      circled.innerHTML = await ask(spread(rows, Number(canvas.dataset.limit)));
      const head = document.createElement("h2");
      head.textContent = rows.length > Number(canvas.dataset.limit) ? `${rows.length.toLocaleString("en")} products, some of them` : `${rows.length} products`;
      circled.prepend(head);
    }

    function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
      const [bx, by] = map.onMap(x, y);
      map.view.scale = Math.max(0.5, Math.min(40, map.view.scale * factor));
      const [ax, ay] = map.onMap(x, y);
      map.view.x += bx - ax;
      map.view.y += by - ay;
      map.draw();
    }

    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      if (event.shiftKey) drag = at(event); else lasso = [map.onMap(...at(event))];
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (drag) {
        map.view.x -= (x - drag[0]) / map.across;
        map.view.y += (y - drag[1]) / map.up;
        drag = [x, y];
        map.draw();
      } else if (lasso) {
        lasso.push(map.onMap(x, y));
        map.draw(lasso);
      } else point(x, y);
    });
    canvas.addEventListener("pointerup", () => {
      if (lasso && lasso.length > 3) list(map.inside(lasso));
      else if (lasso && map.marked !== undefined) pointed.querySelector("a")?.click();
      lasso = drag = undefined;
      map.draw();
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...at(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = (0.1 * 2 * REACH) / map.view.scale;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      if (moves[event.key]) { map.view.x += moves[event.key][0]; map.view.y += moves[event.key][1]; map.draw(); }
      else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.3 : 1 / 1.3);
      else if (event.key === "Enter") list(map.inside([[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => [map.view.x + (x * REACH) / map.view.scale / 2, map.view.y + (y * REACH) / map.view.scale / 2])));
      else return;
      event.preventDefault();
    });
    document.querySelectorAll("input[name=colour]").forEach((choice) => choice.addEventListener("change", () => {
      map.by = choice.value;
      map.groups = undefined;
      map.draw();
      ["category", "price", "cold"].forEach((name) => { document.getElementById(`legend-${name}`).hidden = name !== choice.value; });
    }));
    new ResizeObserver(() => map.size()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.draw());
  }

  document.addEventListener("htmx:afterSettle", async () => {
    const canvas = document.getElementById("map");
    if (!canvas || canvas.dataset.ready) return;
    canvas.dataset.ready = "true";
    const answer = await fetch(canvas.dataset.points);
    connect(new ProductMap(canvas, await answer.arrayBuffer()));
    canvas.dataset.ready = "drawn";
  });
})();
