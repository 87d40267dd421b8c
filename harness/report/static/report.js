// The script of reports: draws the timeline and the charts of a run on one time axis, and leads from
// the text to them. No build step, no framework; charts are uPlot's, lanes are drawn here.
//
// All times are seconds on the page's axis. What a run recorded reaches the page as text nodes and
// canvas text only, never as HTML.
"use strict";

(() => {
  const OK = 0, REFUSED = 1, FAIL = 2, INFO = 3;
  const ENDED = ["ok", "refused", "fail", "info"];
  const ENDED_WORDS = [
    "ok", "fail: mismatch, refused for the state it met (an answer)", "fail: unavailable, certainly no effect",
    "info: unknown, it may have taken effect, or may yet",
  ];
  const FAMILIES = {
    cut: "netsplit", down: "node or worker down", paused: "paused", slow: "slowed links",
    lossy: "broken links", other: "other fault",
  };
  const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];
  const MAX_RAW = 4000; // ops that are drawn as points of the latency chart
  const MAX_TEXTS = 300; // ops that get their words written on them
  const RIGHT = 12; // pixels right of the plots

  const byId = (id) => document.getElementById(id);
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

  /** An element with text and attributes. */
  function make(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  // Data

  const ARRAYS = {
    u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
  };

  /** What the page holds: JSON, and where columns of numbers are in the bytes after it. */
  async function unpack(text) {
    const coded = atob(text), bytes = new Uint8Array(coded.length);
    for (let n = 0; n < coded.length; n++) bytes[n] = coded.charCodeAt(n);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    for (const run of data.runs) run.ops = decodeOps(run.ops, buffer, 4 + length);
    return data;
  }

  function column({ type, at, n, unit }, buffer, base) {
    const held = new ARRAYS[type](buffer, base + at, n);
    if (unit === null) return held;
    const summed = new Float64Array(n);
    for (let row = 0, sum = 0; row < n; row++) summed[row] = (sum += held[row]) * unit;
    return summed;
  }

  /** The ops of a run. Columns are made when they are first needed: most only to tell of one op. */
  function decodeOps(packed, buffer, base) {
    const ops = { n: packed.n, texts: packed.texts, lanes: packed.lanes };
    for (const [name, where] of Object.entries(packed)) {
      if (typeof where !== "object" || Array.isArray(where)) continue;
      Object.defineProperty(ops, name, {
        configurable: true,
        get() {
          const value = column(where, buffer, base);
          Object.defineProperty(ops, name, { value });
          return value;
        },
      });
    }
    // Ops are ordered by lane, then by their beginning.
    ops.first = new Uint32Array(ops.lanes.length + 1).fill(ops.n);
    for (let row = ops.n - 1; row >= 0; row--) ops.first[ops.lane[row]] = row;
    for (let lane = ops.lanes.length - 1; lane >= 0; lane--) {
      ops.first[lane] = Math.min(ops.first[lane], ops.first[lane + 1]);
    }
    return ops;
  }

  /** When an op ended; the end of the run for one that was never heard of again. */
  const endOf = (run, row) => {
    const took = run.ops.dur[row];
    return took === took ? run.ops.start[row] + took : run.end;
  };

  /** The first row in [from, to) that begins at `time` or later. */
  function firstFrom(ops, time, from, to) {
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (ops.start[middle] < time) from = middle + 1; else to = middle;
    }
    return from;
  }

  /** The rows of a lane that may be seen between two moments, as [from, to). */
  function seen(run, lane, from, to) {
    const low = run.ops.first[lane], high = run.ops.first[lane + 1];
    const begin = firstFrom(run.ops, from, low, high);
    return [Math.max(low, begin - 2), firstFrom(run.ops, to, begin, high)];
  }

  const opText = (ops, row) => {
    const asked = ops.texts[ops.value[row]], got = ops.texts[ops.result[row]];
    const words = [ops.texts[ops.f[row]], ops.texts[ops.key[row]]];
    if (asked !== "" && asked !== "null") words.push(asked);
    if (ops.ended[row] === OK && got !== asked) words.push("→ " + got);
    return words.filter((word) => word !== "").join(" ");
  };

  // Colours and patterns

  let ink = {};
  let tiles = new Map();
  let printing = false;

  function readInk() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue("--" + name).trim();
    ink = { font: "12px " + of("sans"), small: "11px " + of("sans") };
    for (const name of ["bg", "panel", "fg", "muted", "line", "bad", "ok", "refused", "fail", "info",
      "cut", "down", "paused", "slow", "lossy", "other"]) ink[name] = of(name);
    ink.curves = Array.from({ length: 8 }, (_, n) => of("curve-" + n));
    tiles = new Map();
  }

  const colourOf = (name) => (typeof name === "string" ? ink[name] : ink.curves[name % 8]);

  // How the tile of each pattern is stroked, on a square of 8 by 8.
  const STROKES = {
    cut: [[-2, 2, 2, -2], [-2, 10, 10, -2], [6, 10, 10, 6]],
    slow: [[-2, 6, 2, 10], [-2, -2, 10, 10], [6, -2, 10, 2]],
    down: [[-2, 10, 10, -2], [-2, -2, 10, 10]],
    paused: [[2, 0, 2, 3], [2, 6, 2, 8], [6, 2, 6, 6]],
    lossy: [[1, 0, 1, 8], [5, 0, 5, 8]],
    other: [[0, 2, 8, 2], [0, 6, 8, 6]],
  };

  /** A repeating pattern in a colour, sharp on this screen. */
  function pattern(context, kind, colour) {
    const name = kind + colour;
    if (!tiles.has(name)) {
      const ratio = Math.max(1, Math.round(devicePixelRatio || 1));
      const tile = document.createElement("canvas");
      tile.width = tile.height = 8 * ratio;
      const draw = tile.getContext("2d");
      draw.scale(ratio, ratio);
      draw.strokeStyle = colour;
      draw.lineWidth = 1.2;
      draw.beginPath();
      for (const [x1, y1, x2, y2] of STROKES[kind] || STROKES.other) {
        draw.moveTo(x1, y1);
        draw.lineTo(x2, y2);
      }
      draw.stroke();
      const made = context.createPattern(tile, "repeat");
      made.setTransform(new DOMMatrix().scale(1 / ratio));
      tiles.set(name, made);
    }
    return tiles.get(name);
  }

  /** A fault as a band: tint, pattern and edges; lighter while it is being healed. */
  function band(context, fault, x0, x1, xHealing, y, height, strength) {
    const colour = ink[fault.family] || ink.other;
    const width = Math.max(x1 - x0, 1.5);
    context.fillStyle = colour;
    context.globalAlpha = 0.16 * strength;
    context.fillRect(x0, y, width, height);
    context.globalAlpha = 0.55 * strength;
    context.fillStyle = pattern(context, fault.family, colour);
    context.fillRect(x0, y, Math.max(Math.min(xHealing, x1) - x0, 1.5), height);
    context.globalAlpha = 0.8 * strength;
    context.fillStyle = colour;
    context.fillRect(x0, y, 1, height);
    context.fillRect(x0 + width - 1, y, 1, height);
    context.globalAlpha = 1;
  }

  // What is seen

  const view = { min: 0, max: 1, full: [0, 1] };
  const state = { hover: null, selected: null, painters: [] };
  let waiting = false;

  function zoomTo(min, max) {
    const [low, high] = view.full;
    const width = clamp(max - min, Math.min(2e-5, high - low), high - low);
    const start = clamp(min + (max - min - width) / 2, low, high - width);
    view.min = start;
    view.max = start + width;
    changed();
  }

  const zoomBy = (factor, at = (view.min + view.max) / 2) =>
    zoomTo(at - (at - view.min) * factor, at + (view.max - at) * factor);
  const panBy = (share) => {
    const by = clamp((view.max - view.min) * share, view.full[0] - view.min, view.full[1] - view.max);
    zoomTo(view.min + by, view.max + by);
  };
  const zoomOut = () => zoomTo(...view.full);

  /** Paint everything anew, once before the next frame. */
  function changed() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      paint();
    });
  }

  function paint() {
    const began = performance.now();
    window.report.visible = 0;
    for (const painter of state.painters) painter.paint();
    if (printing) settle();
    const length = view.max - view.min;
    const told = byId("window");
    if (told) told.value = `${clock(view.min, length)}–${clock(view.max, length)} s`;
    window.report.paintMs = performance.now() - began;
    window.report.view = { min: view.min, max: view.max };
    window.report.paints += 1;
  }

  /** Let every canvas be one picture: Chromium prints drawings anew from what it remembers of them,
   * without their transparency and not all of it. */
  function settle() {
    for (const canvas of document.querySelectorAll("canvas")) {
      const copy = make("canvas", undefined, { width: canvas.width, height: canvas.height });
      copy.getContext("2d").drawImage(canvas, 0, 0);
      const context = canvas.getContext("2d");
      context.save();
      context.resetTransform();
      context.globalCompositeOperation = "copy";
      context.drawImage(copy, 0, 0);
      context.restore();
    }
  }

  const clock = (t, length) =>
    t.toFixed(length > 20 ? 1 : length > 2 ? 2 : length > 0.2 ? 3 : length > 0.01 ? 4 : 6);

  /** Moments at which to put ticks. */
  function ticks(min, max, pixels) {
    const least = ((max - min) * 85) / Math.max(pixels, 85);
    const power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
    const digits = clamp(-Math.floor(Math.log10(step) + 1e-9), 0, 7);
    const found = [];
    for (let n = Math.ceil(min / step); n * step <= max; n++) found.push([n * step, (n * step).toFixed(digits)]);
    return found;
  }

  const gutter = () => (innerWidth < 640 && !printing ? 74 : 116);

  // The lanes of a run

  class Lanes {
    constructor(box, run) {
      this.box = box;
      this.run = run;
      this.base = box.appendChild(make("canvas"));
      this.above = box.appendChild(make("canvas", undefined, { class: "above" }));
      this.bands = [];
      this.drag = null;
      this.packFaults();
      this.listen();
    }

    /** The rows of the faults: one that overlaps another goes below it. */
    packFaults() {
      const ends = [];
      for (const fault of this.run.faults) {
        let row = ends.findIndex((end) => end <= fault.start);
        if (row < 0) row = ends.length;
        ends[row] = fault.end;
        fault.row = row;
      }
      this.faultRows = ends.length;
    }

    measure() {
      this.width = Math.max(this.box.clientWidth, 200);
      this.left = gutter();
      const clients = this.run.ops.lanes.length;
      this.laneHeight = clamp(Math.floor(280 / Math.max(clients, 1)), 6, 17);
      this.top = { axis: 0, phases: 20, faults: 38 };
      this.top.nodes = this.top.faults + this.faultRows * 20 + (this.faultRows ? 4 : 0);
      this.top.clients = this.top.nodes + this.run.nodes.length * 18 + 14;
      this.height = this.top.clients + clients * this.laneHeight + 6;
      const ratio = devicePixelRatio || 1;
      for (const canvas of [this.base, this.above]) {
        const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
        if (canvas.width !== width || canvas.height !== height) {
          canvas.width = width;
          canvas.height = height;
          canvas.style.width = this.width + "px";
          canvas.style.height = this.height + "px";
        }
        canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
      }
      this.box.style.height = this.height + "px";
      this.scale = (this.width - this.left - RIGHT) / (view.max - view.min);
    }

    x(time) {
      return this.left + (time - view.min) * this.scale;
    }

    time(x) {
      return view.min + (x - this.left) / this.scale;
    }

    laneY(lane) {
      return this.top.clients + lane * this.laneHeight;
    }

    paint() {
      this.measure();
      const context = this.base.getContext("2d");
      context.fillStyle = ink.bg;
      context.fillRect(0, 0, this.width, this.height);
      context.save();
      context.beginPath();
      context.rect(this.left, 0, this.width - this.left - RIGHT, this.height);
      context.clip();
      this.paintPhases(context);
      this.paintFaults(context);
      this.paintNodes(context);
      this.paintOps(context);
      this.paintEvidence(context);
      context.restore();
      this.paintGutter(context);
      this.paintAbove();
    }

    paintPhases(context) {
      context.font = ink.small;
      context.textBaseline = "middle";
      for (const [time, word] of ticks(view.min, view.max, this.width - this.left)) {
        const x = Math.round(this.x(time)) + 0.5;
        context.fillStyle = ink.line;
        context.fillRect(x, 14, 1, this.height);
        context.fillStyle = ink.muted;
        const wide = context.measureText(word).width / 2;
        context.textAlign = "center";
        context.fillText(word, clamp(x, this.left + wide, this.width - RIGHT - wide), 8);
      }
      const last = this.run.phases.length - 1;
      this.run.phases.forEach(([name, start, end], n) => {
        const x0 = Math.max(this.x(start), this.left), x1 = Math.min(this.x(end), this.width - RIGHT);
        if (x1 <= x0) return;
        context.fillStyle = n % 2 ? ink.panel : ink.line;
        context.fillRect(x0, this.top.phases, x1 - x0, 15);
        if (n < last) {
          context.fillStyle = ink.muted;
          context.fillRect(x1 - 1, this.top.phases, 1, 15);
        }
        context.fillStyle = ink.fg;
        context.textAlign = "left";
        if (x1 - x0 > context.measureText(name).width + 8) context.fillText(name, x0 + 4, this.top.phases + 8);
      });
    }

    paintFaults(context) {
      this.bands = [];
      const rows = new Map();
      for (const fault of this.run.faults) {
        const x0 = this.x(fault.start), x1 = this.x(fault.end), healing = this.x(fault.healing);
        if (x1 < this.left || x0 > this.width) continue;
        const y = this.top.faults + fault.row * 20;
        band(context, fault, x0, x1, healing, y, 18, 1);
        // Through all lanes faintly: what happened to the ops meanwhile.
        band(context, fault, x0, x1, healing, this.top.clients - 3, this.height - this.top.clients, 0.3);
        this.bands.push({ id: fault.id, x0, x1, y, height: 18 });
        if (!rows.has(fault.row)) rows.set(fault.row, []);
        rows.get(fault.row).push({ fault, x0: Math.max(x0, this.left), y });
      }
      context.font = ink.font;
      context.textAlign = "left";
      for (const row of rows.values()) {
        row.forEach(({ fault, x0, y }, n) => {
          const room = (n + 1 < row.length ? row[n + 1].x0 : this.width - RIGHT) - x0 - 6;
          const words = [`${fault.id} ${fault.what}${fault.bit === false ? " (did not bite)" : ""}`, fault.id];
          const word = words.find((one) => context.measureText(one).width < room);
          if (!word) return;
          const wide = context.measureText(word).width;
          context.globalAlpha = 0.78;
          context.fillStyle = ink.bg;
          context.fillRect(x0 + 3, y + 2, wide + 4, 14);
          context.globalAlpha = 1;
          context.fillStyle = ink.fg;
          context.fillText(word, x0 + 5, y + 9.5);
        });
      }
    }

    paintNodes(context) {
      this.run.nodes.forEach((node, n) => {
        const y = this.top.nodes + n * 18;
        for (const [start, end, what] of node.states) {
          const x0 = this.x(start), width = Math.max(this.x(end) - x0, 1.5);
          if (what === "up") {
            context.fillStyle = ink.muted;
            context.globalAlpha = 0.5;
            context.fillRect(x0, y + 7, width, 4);
            context.globalAlpha = 1;
          } else {
            context.strokeStyle = ink.fg;
            context.setLineDash(what === "paused" ? [2, 3] : []);
            context.strokeRect(x0 + 0.5, y + 4.5, width - 1, 9);
            context.setLineDash([]);
          }
        }
        for (const fault of this.run.faults) {
          if (!fault.nodes.includes(node.name)) continue;
          band(context, fault, this.x(fault.start), this.x(fault.end), this.x(fault.healing), y + 1, 16, 0.8);
        }
        this.paintEvents(context, node.events, y);
        for (const state of node.states) this.paintState(context, state, y);
      });
    }

    /** What a node said of itself, as small diamonds on its line; one for each pixel. */
    paintEvents(context, events, y) {
      context.fillStyle = ink.fg;
      context.beginPath();
      let last = -Infinity;
      for (const [time] of events) {
        const x = this.x(time);
        if (x < this.left || x > this.width || x - last < 1) continue;
        last = x;
        context.moveTo(x, y + 5.5);
        context.lineTo(x + 3, y + 9);
        context.lineTo(x, y + 12.5);
        context.lineTo(x - 3, y + 9);
      }
      context.fill();
    }

    /** In words what a node was while it was not up. */
    paintState(context, [start, end, what], y) {
      const x0 = Math.max(this.x(start), this.left), x1 = Math.min(this.x(end), this.width - RIGHT);
      if (what === "up" || x1 - x0 < 46) return;
      context.font = ink.small;
      context.textAlign = "center";
      const wide = context.measureText(what).width + 8;
      context.fillStyle = ink.bg;
      context.fillRect((x0 + x1 - wide) / 2, y + 2, wide, 14);
      context.fillStyle = ink.fg;
      context.fillText(what, (x0 + x1) / 2, y + 9.5);
    }

    /** Ops as bars: those that would share a pixel are drawn as one. Height and pattern tell the
     * outcomes apart as colours do. */
    paintOps(context) {
      const { run, laneHeight } = this, { ops } = run;
      const heights = [0.5, 0.3, 0.7, 1].map((share) => Math.max(2, laneHeight * share));
      const paths = ENDED.map(() => new Path2D()), wide = ENDED.map(() => new Path2D());
      const texts = [];
      let visible = 0;
      for (let lane = 0; lane < ops.lanes.length; lane++) {
        const [from, to] = seen(run, lane, view.min, view.max);
        visible += to - from;
        const middle = this.laneY(lane) + laneHeight / 2;
        const begun = [NaN, NaN, NaN, NaN], ended = [NaN, NaN, NaN, NaN];
        const flush = (kind) => {
          const x = Math.max(begun[kind], this.left - 20);
          const width = Math.min(ended[kind], this.width + 20) - x;
          const height = heights[kind];
          if (width <= 0) return;
          paths[kind].rect(x, middle - height / 2, width, height);
          if (width > 5) wide[kind].rect(x, middle - height / 2, width, height);
        };
        for (let row = from; row < to; row++) {
          const kind = ops.ended[row];
          const x0 = this.x(ops.start[row]);
          let x1 = this.x(endOf(run, row));
          if (x1 - x0 > 3) x1 -= 0.75;
          x1 = Math.max(x1, x0 + 1);
          if (Math.floor(x0) <= Math.floor(ended[kind])) {
            ended[kind] = Math.max(ended[kind], x1);
          } else {
            if (begun[kind] === begun[kind]) flush(kind);
            begun[kind] = x0;
            ended[kind] = x1;
          }
          if (x1 - x0 > 46 && texts.length < MAX_TEXTS) texts.push([row, x0, x1, middle]);
        }
        for (let kind = 0; kind < 4; kind++) if (begun[kind] === begun[kind]) flush(kind);
      }
      for (const kind of [OK, REFUSED, FAIL, INFO]) {
        context.fillStyle = ink[ENDED[kind]];
        context.fill(paths[kind]);
        if (kind === FAIL || kind === INFO) {
          context.fillStyle = pattern(context, kind === FAIL ? "slow" : "down", ink.bg);
          context.fill(wide[kind]);
          context.strokeStyle = ink[ENDED[kind]];
          context.lineWidth = 1;
          context.stroke(wide[kind]);
        }
      }
      this.paintTexts(context, texts);
      window.report.visible += visible;
    }

    paintTexts(context, texts) {
      if (this.laneHeight < 11) return;
      context.font = ink.small;
      context.textAlign = "left";
      for (const [row, x0, x1, y] of texts) {
        const from = Math.max(x0, this.left), room = Math.min(x1, this.width - RIGHT) - from - 6;
        const word = opText(this.run.ops, row);
        const wide = context.measureText(word).width;
        if (wide > room) continue;
        context.fillStyle = ink.bg;
        context.globalAlpha = 0.82;
        context.fillRect(from + 2, y - 6, wide + 4, 12);
        context.globalAlpha = 1;
        context.fillStyle = ink.fg;
        context.fillText(word, from + 4, y + 0.5);
      }
    }

    /** The ops that a check names: framed in their lanes, with a mark at the axis. */
    paintEvidence(context) {
      for (const verdict of this.run.verdicts) {
        for (const row of verdict.rows) this.frame(context, row, row === verdict.blocked);
      }
    }

    frame(context, row, blocked) {
      const x0 = this.x(this.run.ops.start[row]), x1 = Math.max(this.x(endOf(this.run, row)), x0 + 3);
      if (x1 < this.left || x0 > this.width) return;
      const y = this.laneY(this.run.ops.lane[row]);
      context.strokeStyle = blocked ? ink.bad : ink.fg;
      context.lineWidth = 2;
      context.strokeRect(x0 - 2, y, x1 - x0 + 4, this.laneHeight);
      context.lineWidth = 1;
      const x = (Math.max(x0, this.left) + Math.min(x1, this.width - RIGHT)) / 2;
      context.fillStyle = blocked ? ink.bad : ink.fg;
      context.beginPath();
      context.moveTo(x - 5, this.top.clients - 10);
      context.lineTo(x + 5, this.top.clients - 10);
      context.lineTo(x, this.top.clients - 3);
      context.fill();
    }

    paintGutter(context) {
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillStyle = ink.muted;
      context.font = ink.small;
      const put = (word, y) => {
        let text = word;
        while (text.length > 4 && context.measureText(text).width > this.left - 10) text = text.slice(0, -2) + "…";
        context.fillText(text, this.left - 6, y);
      };
      put("seconds", 8);
      put("phases", this.top.phases + 8);
      if (this.faultRows) put("faults", this.top.faults + 9.5);
      context.fillStyle = ink.fg;
      this.run.nodes.forEach((node, n) => put(node.name, this.top.nodes + n * 18 + 9.5));
      const every = Math.ceil(12 / this.laneHeight);
      this.run.ops.lanes.forEach((name, n) => {
        if (n % every === 0) put(name, this.laneY(n) + this.laneHeight / 2);
      });
    }

    /** The layer that changes with the pointer alone: cursor, what is being dragged, the selected op. */
    paintAbove() {
      const context = this.above.getContext("2d");
      context.clearRect(0, 0, this.width, this.height);
      context.save();
      context.beginPath();
      context.rect(this.left, 0, this.width - this.left - RIGHT, this.height);
      context.clip();
      if (state.hover !== null) {
        context.fillStyle = ink.fg;
        context.globalAlpha = 0.6;
        context.fillRect(Math.round(this.x(state.hover)), 0, 1, this.height);
        context.globalAlpha = 1;
      }
      if (this.drag && !this.drag.pans) {
        context.fillStyle = ink.ok;
        context.globalAlpha = 0.2;
        context.fillRect(Math.min(this.drag.from, this.drag.to), 0, Math.abs(this.drag.to - this.drag.from), this.height);
        context.globalAlpha = 1;
      }
      if (state.selected && state.selected.run === this.run) this.ring(context, state.selected.row);
      context.restore();
    }

    ring(context, row) {
      const x0 = this.x(this.run.ops.start[row]), x1 = Math.max(this.x(endOf(this.run, row)), x0 + 3);
      const y = this.laneY(this.run.ops.lane[row]);
      for (const [colour, width] of [[ink.bg, 6], [ink.bad, 3]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.strokeRect(x0 - 4, y - 2, x1 - x0 + 8, this.laneHeight + 4);
      }
      context.lineWidth = 1;
      context.fillStyle = ink.bad;
      context.globalAlpha = 0.5;
      context.fillRect((x0 + x1) / 2, 0, 1, y - 2);
      context.globalAlpha = 1;
    }

    /** What is at a point: an op, a fault, or nothing. */
    at(x, y) {
      const { run } = this;
      if (x < this.left) return null;
      const lane = Math.floor((y - this.top.clients) / this.laneHeight);
      if (lane >= 0 && lane < run.ops.lanes.length) {
        const row = this.nearest(lane, this.time(x), 4 / this.scale);
        return row === null ? null : { row };
      }
      const node = Math.floor((y - this.top.nodes) / 18);
      const time = this.time(x), margin = 3 / this.scale;
      const held = run.faults.filter((f) => f.start - margin <= time && time <= f.end + margin);
      if (y < this.top.nodes && y >= this.top.faults) {
        const row = Math.floor((y - this.top.faults) / 20);
        const fault = held.find((f) => f.row === row);
        return fault ? { fault } : null;
      }
      if (node >= 0 && node < run.nodes.length) {
        const name = run.nodes[node].name;
        const fault = held.find((f) => f.nodes.includes(name));
        const now = run.nodes[node].states.find(([a, b]) => a <= time && time <= b);
        const events = run.nodes[node].events.filter(([at]) => Math.abs(at - time) <= 4 / this.scale);
        return { node: name, what: now ? now[2] : "not started, or ended", fault, events };
      }
      return null;
    }

    nearest(lane, time, margin) {
      const [from, to] = seen(this.run, lane, time - margin, time + margin);
      let best = null, least = margin;
      for (let row = from; row < to; row++) {
        const start = this.run.ops.start[row], end = endOf(this.run, row);
        const away = time < start ? start - time : time > end ? time - end : 0;
        // Of those that share the point the one worth knowing: it did not end ok.
        const better = away < least || (away === least && best !== null
          && this.run.ops.ended[row] > this.run.ops.ended[best]);
        if (away <= least && (best === null || better)) [best, least] = [row, away];
      }
      return best;
    }

    listen() {
      const point = (event) => {
        const place = this.above.getBoundingClientRect();
        return [event.clientX - place.left, event.clientY - place.top];
      };
      this.box.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        const [x] = point(event);
        if (x < this.left) return;
        this.drag = { from: x, to: x, pans: event.shiftKey, min: view.min, max: view.max };
        this.box.setPointerCapture(event.pointerId);
      });
      this.box.addEventListener("pointermove", (event) => {
        const [x, y] = point(event);
        if (this.drag) {
          this.drag.to = clamp(x, this.left, this.width - RIGHT);
          if (this.drag.pans) {
            const by = (this.drag.from - x) / this.scale;
            zoomTo(this.drag.min + by, this.drag.max + by);
          }
        }
        if (x >= this.left && x <= this.width - RIGHT) hover(this.time(x), null);
        tip(this.tipFor(this.at(x, y)), event);
      });
      this.box.addEventListener("pointerup", (event) => {
        const { drag } = this;
        this.drag = null;
        if (!drag) return;
        if (!drag.pans && Math.abs(drag.to - drag.from) > 4) {
          const [a, b] = [drag.from, drag.to].sort((one, other) => one - other);
          zoomTo(this.time(a), this.time(b));
        } else if (!drag.pans) {
          this.chosen(this.at(...point(event)));
        }
        this.paintAbove();
      });
      this.box.addEventListener("pointerleave", () => {
        hover(null, null);
        tip(null);
      });
      this.box.addEventListener("dblclick", zoomOut);
      this.box.addEventListener("keydown", (event) => this.key(event));
      wheelZooms(this.box, (event) => this.time(point(event)[0]), () => document.activeElement === this.box);
    }

    chosen(found) {
      if (found && found.row !== undefined) select(this.run, found.row);
      else if (found && found.fault) show(found.fault.start, found.fault.end);
      else select(null);
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const actions = {
        "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2),
        ArrowLeft: () => panBy(-0.2), ArrowRight: () => panBy(0.2), 0: zoomOut, Home: zoomOut,
        f: () => this.nextFault(), e: () => this.nextEvidence(),
        ",": () => this.step(-1), ".": () => this.step(1), Escape: () => select(null),
      };
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    nextFault() {
      const { faults } = this.run;
      if (!faults.length) return;
      this.fault = ((this.fault ?? -1) + 1) % faults.length;
      show(faults[this.fault].start, faults[this.fault].end);
    }

    nextEvidence() {
      const rows = this.run.verdicts.flatMap((verdict) => verdict.rows);
      if (!rows.length) return;
      this.evidence = ((this.evidence ?? -1) + 1) % rows.length;
      select(this.run, rows[this.evidence], true);
    }

    /** The op before or after the selected one, of the same client. */
    step(by) {
      if (!state.selected || state.selected.run !== this.run) return;
      const row = state.selected.row + by, { ops } = this.run;
      if (row < 0 || row >= ops.n || ops.lane[row] !== ops.lane[state.selected.row]) return;
      select(this.run, row);
      const start = ops.start[row];
      if (start < view.min || start > view.max) panBy((start - (view.min + view.max) / 2) / (view.max - view.min));
    }

    tipFor(found) {
      if (!found) return null;
      if (found.row !== undefined) return opLines(this.run, found.row).slice(0, 5);
      const lines = found.node ? [`${found.node}: ${found.what}`] : [];
      const events = found.events || [];
      lines.push(...events.slice(0, 6).map(([at, said]) => `${at.toFixed(3)} s  ${said}`));
      if (events.length > 6) lines.push(`… and ${events.length - 6} more`);
      if (found.fault) {
        const { fault } = found;
        lines.push(`${fault.id} ${fault.what}`,
          `in force ${fault.start.toFixed(3)}–${fault.healing.toFixed(3)} s, gone at ${fault.end.toFixed(3)} s`,
          `on ${fault.nodes.join(", ")}${fault.bit === false ? "; did not bite" : ""}`);
      }
      return lines.length ? lines : null;
    }
  }

  /** What is to be said of an op, line by line. */
  function opLines(run, row) {
    const { ops } = run, start = ops.start[row], took = ops.dur[row];
    const lines = [
      opText(ops, row),
      `${ENDED_WORDS[ops.ended[row]]}`,
      took === took
        ? `${start.toFixed(6)}–${(start + took).toFixed(6)} s, took ${(took * 1000).toFixed(3)} ms`
        : `from ${start.toFixed(6)} s, never heard of again`,
      `process ${ops.process[row]} (${ops.lanes[ops.lane[row]]}) on ${ops.texts[ops.node[row]] || "no node"}`,
    ];
    const error = ops.texts[ops.error[row]];
    if (error) lines.push(`error: ${error}`);
    lines.push(`index ${ops.index[row]} of history.jsonl`);
    return lines;
  }

  // Pointer, selection, links

  /** Tell everything at which moment the pointer is. `source` is the chart it is in. */
  function hover(time, source) {
    if (state.hover === time) return;
    state.hover = time;
    for (const painter of state.painters) painter.point(time, source);
  }
  Lanes.prototype.point = function point() {
    if (this.width) this.paintAbove();
  };

  let tipBox = null;
  function tip(lines, event) {
    if (!tipBox) tipBox = document.body.appendChild(make("div", undefined, { class: "tip", role: "tooltip" }));
    tipBox.hidden = !lines;
    if (!lines) return;
    tipBox.replaceChildren(...lines.map((line, n) => make(n ? "div" : "strong", line)));
    const box = tipBox.getBoundingClientRect();
    const x = event.clientX + 14 + box.width > innerWidth ? event.clientX - box.width - 14 : event.clientX + 14;
    const y = event.clientY + 14 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 14;
    tipBox.style.transform = `translate(${Math.max(x, 4)}px, ${Math.max(y, 4)}px)`;
  }

  function wheelZooms(element, timeAt, always) {
    element.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && !always()) return;
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        panBy(Math.sign(event.deltaX || event.deltaY) * 0.1);
      } else {
        zoomBy(1.2 ** clamp(event.deltaY / 50, -3, 3), timeAt(event));
      }
    }, { passive: false });
  }

  /** Show a stretch of time with a margin. */
  function show(from, to) {
    const margin = Math.max((to - from) * 0.3, 0.01);
    zoomTo(from - margin, to + margin);
  }

  /** Select an op, tell of it, and with `near` zoom to it. Null lets go of it. */
  function select(run, row, near = false) {
    state.selected = run ? { run, row } : null;
    window.report.selected = run ? run.ops.index[row] : null;
    const box = byId("selected");
    if (box) {
      box.replaceChildren();
      if (run) {
        const [title, ...lines] = opLines(run, row);
        box.append(make("strong", title), ...lines.map((line) => make("div", line)));
      }
    }
    document.querySelectorAll("button.op").forEach((button) => {
      const same = run && Number(button.dataset.op) === row && data.runs[Number(button.dataset.run)] === run;
      button.setAttribute("aria-pressed", same ? "true" : "false");
    });
    if (near) {
      const start = run.ops.start[row], took = endOf(run, row) - start;
      const around = Math.max(Math.min(took, 5) * 3, 0.03, (view.full[1] - view.full[0]) / 2000);
      zoomTo(start + Math.min(took, 5) / 2 - around, start + Math.min(took, 5) / 2 + around);
    } else {
      changed();
    }
  }

  function links() {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { op, run, span, view: move, copy } = button.dataset;
      if (op !== undefined) {
        select(data.runs[Number(run)], Number(op), true);
        reveal();
      } else if (span !== undefined) {
        zoomTo(...span.split(",").map(Number));
        reveal();
      } else if (move !== undefined) {
        ({ in: () => zoomBy(0.5), out: () => zoomBy(2), left: () => panBy(-0.3), right: () => panBy(0.3), all: zoomOut })[move]();
      } else if (copy !== undefined) {
        copyText(button, copy);
      }
    });
  }

  function reveal() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const section = byId("timeline");
    if (section) section.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }

  /** To the clipboard; where a browser keeps that from pages of the disk, the command is marked. */
  async function copyText(button, words) {
    try {
      await navigator.clipboard.writeText(words);
      button.textContent = "Copied";
    } catch {
      const code = button.parentElement.querySelector("code");
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "Copied" : "Marked";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // Charts

  class Chart {
    constructor(box, chart) {
      this.box = box;
      this.chart = chart;
      this.near = true;
      this.stale = true;
      this.build();
    }

    build() {
      const { chart } = this;
      if (this.plot) this.plot.destroy();
      const curves = chart.curves.map((curve) => ({
        label: curve.label,
        stroke: () => colourOf(curve.colour),
        width: 1.5,
        spanGaps: curve.joined,
        dash: DASHES[curve.dash % DASHES.length],
        paths: curve.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
        points: { show: chart.x.length < 80 ? undefined : false, size: 4 },
        value: (_, value) => (value == null ? "–" : figure(value) + (chart.unit ? " " + chart.unit : "")),
      }));
      this.plot = new uPlot({
        width: Math.max(this.box.clientWidth, 200),
        height: this.height(),
        padding: [8, RIGHT, 0, 0],
        cursor: {
          y: false,
          drag: { x: true, y: false, setScale: false },
          bind: { dblclick: () => () => { zoomOut(); return null; } },
          points: { size: 6 },
        },
        scales: {
          x: { time: false, range: () => [view.min, view.max] },
          y: { distr: chart.log ? 3 : 1, range: (_, low, high) => this.range(low, high) },
        },
        axes: [
          { ...this.axis(), size: 30, splits: (u) => ticks(view.min, view.max, u.bbox.width / (devicePixelRatio || 1)).map(([t]) => t),
            values: (u) => ticks(view.min, view.max, u.bbox.width / (devicePixelRatio || 1)).map(([, word]) => word) },
          { ...this.axis(), size: gutter(), space: 28, splits: chart.log ? decades : undefined, values: (_, values) => values.map((v) => (v == null ? "" : figure(v))) },
        ],
        series: [{ label: "at", value: (_, time) => (time == null ? "–" : time.toFixed(2) + " s") }, ...curves],
        legend: { markers: { width: 2, dash: (_, n) => ["solid", "dashed", "dotted", "dashed"][n ? chart.curves[n - 1].dash % 4 : 0] } },
        hooks: {
          drawClear: [(u) => this.below(u)],
          draw: [(u) => this.points(u)],
          setSelect: [(u) => this.dragged(u)],
          setCursor: [(u) => this.pointed(u)],
        },
      }, [chart.x, ...chart.curves.map((curve) => curve.values)], this.box);
      this.box.removeAttribute("aria-hidden");
      if (!this.wheels) {
        this.wheels = true;
        wheelZooms(this.box, (event) => {
          const place = this.plot.over.getBoundingClientRect();
          return this.plot.posToVal(event.clientX - place.left, "x");
        }, () => false);
      }
    }

    axis() {
      return {
        stroke: () => ink.muted,
        grid: { stroke: () => ink.line, width: 1 },
        ticks: { stroke: () => ink.line, width: 1, size: 5 },
        font: ink.small,
      };
    }

    height() {
      return this.chart.raw ? 240 : 170;
    }

    range(low, high) {
      const { chart } = this;
      if (chart.raw) [low, high] = this.rawRange(low, high);
      if (low == null || !(high > -Infinity)) return chart.log ? [1, 10] : [0, 1];
      if (chart.log) {
        // Whole decades would waste half of the room where all values are alike.
        return [Math.max(low, 1e-3) / 1.3, Math.max(high, 1e-3) * 1.3];
      }
      const most = Math.max(high, chart.high ?? high, chart.low ?? high);
      return [Math.min(low, 0), most > 0 ? most * 1.08 : 1];
    }

    /** The rows of each lane that are seen, if they are few enough to be drawn one by one. */
    rawRows() {
      const run = data.runs[this.chart.run ?? 0];
      const ranges = run.ops.lanes.map((_, lane) => seen(run, lane, view.min, view.max));
      const count = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
      return count <= MAX_RAW ? { run, ranges, count } : { run, ranges: [], count: 0 };
    }

    /** The range that holds the points as well. */
    rawRange(low, high) {
      const { run: { ops }, ranges } = this.rawRows();
      let [least, most] = [low ?? Infinity, high ?? -Infinity];
      for (const [from, to] of ranges) {
        for (let row = from; row < to; row++) {
          const took = Math.max(ops.dur[row] * 1000, 1e-3);
          if (took < least) least = took;
          if (took > most) most = took;
        }
      }
      return most > -Infinity ? [least, most] : [null, null];
    }

    paint() {
      this.stale = true;
      if (this.near) this.refresh();
    }

    refresh() {
      if (!this.stale) return;
      this.stale = false;
      const { plot } = this, width = Math.max(this.box.clientWidth, 200);
      plot.batch(() => {
        if (plot.width !== width) plot.setSize({ width, height: this.height() });
        plot.setScale("x", { min: view.min, max: view.max });
      });
    }

    point(time, source) {
      if (source === this || !this.near) return;
      const { plot } = this;
      const left = time === null ? -10 : plot.valToPos(time, "x");
      plot.setCursor({ left, top: left < 0 ? -10 : 4 }, false);
    }

    pointed(u) {
      if (!u.cursor.event) return;
      hover(u.cursor.left < 0 ? null : u.posToVal(u.cursor.left, "x"), this);
    }

    dragged(u) {
      const { left, width } = u.select;
      if (width < 4) return;
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      zoomTo(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
    }

    /** Below the curves: the faults of every run on the page, and what is out of tolerance. */
    below(u) {
      const { ctx, bbox } = u, { chart } = this, ratio = devicePixelRatio || 1;
      ctx.save();
      ctx.scale(ratio, ratio);
      const [left, top, width, height] = [bbox.left, bbox.top, bbox.width, bbox.height].map((n) => n / ratio);
      ctx.beginPath();
      ctx.rect(left, top, width, height);
      ctx.clip();
      const x = (time) => left + ((time - view.min) / (view.max - view.min)) * width;
      const share = height / data.runs.length;
      data.runs.forEach((run, n) => {
        if (chart.run !== undefined && chart.run !== null && chart.run !== n) return;
        for (const fault of run.faults) {
          if (fault.end < view.min || fault.start > view.max) continue;
          band(ctx, fault, x(fault.start), x(fault.end), x(fault.healing), top + n * share, share, 0.5);
        }
        ctx.fillStyle = ink.muted;
        for (const [, start] of run.phases) ctx.fillRect(Math.round(x(start)), top + n * share, 1, 5);
      });
      this.tolerance(ctx, u, left, top, width, height, ratio);
      ctx.restore();
    }

    tolerance(ctx, u, left, top, width, height, ratio) {
      const { chart } = this;
      const edge = (value) => clamp(u.valToPos(value, "y", true) / ratio, top, top + height);
      ctx.fillStyle = ink.bad;
      const out = (from, to) => {
        ctx.globalAlpha = 0.13;
        ctx.fillRect(left, from, width, to - from);
        ctx.globalAlpha = 1;
      };
      const line = (y) => {
        ctx.strokeStyle = ink.bad;
        ctx.setLineDash([5, 3]);
        ctx.beginPath();
        ctx.moveTo(left, y);
        ctx.lineTo(left + width, y);
        ctx.stroke();
        ctx.setLineDash([]);
      };
      if (chart.high != null) { out(top, edge(chart.high)); line(edge(chart.high)); }
      if (chart.low != null) { out(edge(chart.low), top + height); line(edge(chart.low)); }
    }

    /** The ops themselves, once they are few enough: one shape for each outcome. */
    points(u) {
      if (!this.chart.raw) return;
      const { run: { ops }, ranges, count } = this.rawRows();
      window.report.raw = count;
      const { ctx, bbox } = u, ratio = devicePixelRatio || 1, size = 2.2 * ratio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.lineWidth = ratio;
      ctx.globalAlpha = 0.75;
      for (const [from, to] of ranges) {
        for (let row = from; row < to; row++) {
          const took = ops.dur[row];
          if (took !== took) continue;
          const x = u.valToPos(ops.start[row] + took, "x", true);
          const y = u.valToPos(Math.max(took * 1000, 1e-3), "y", true);
          shape(ctx, ops.ended[row], x, clamp(y, bbox.top, bbox.top + bbox.height), size);
        }
      }
      ctx.restore();
    }
  }

  /** Ticks of a logarithmic axis: as few for each decade as there is room for. */
  function decades(u, _, low, high) {
    const room = u.bbox.height / (devicePixelRatio || 1) / Math.max(Math.log10(high / low), 0.1);
    const steps = room > 90 ? [1, 2, 5] : room > 45 ? [1, 3] : [1];
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const step of steps) {
        const value = Number((step * 10 ** power).toPrecision(1));
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found;
  }

  /** A point of the latency chart: dot ok, ring mismatch, triangle unavailable, cross unknown. */
  function shape(ctx, kind, x, y, size) {
    ctx.fillStyle = ctx.strokeStyle = ink[ENDED[kind]];
    ctx.beginPath();
    if (kind === OK || kind === REFUSED) ctx.arc(x, y, kind === OK ? size * 0.8 : size, 0, 2 * Math.PI);
    if (kind === FAIL) {
      ctx.moveTo(x, y - size * 1.6);
      ctx.lineTo(x + size * 1.5, y + size);
      ctx.lineTo(x - size * 1.5, y + size);
    }
    if (kind !== INFO) ctx.closePath();
    if (kind === INFO) {
      ctx.moveTo(x - size * 1.3, y - size * 1.3);
      ctx.lineTo(x + size * 1.3, y + size * 1.3);
      ctx.moveTo(x + size * 1.3, y - size * 1.3);
      ctx.lineTo(x - size * 1.3, y + size * 1.3);
    }
    if (kind === OK || kind === FAIL) ctx.fill(); else ctx.stroke();
  }

  /** A number for people: three digits that matter. */
  function figure(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e6) return value.toPrecision(3).replace("e+", "e");
    return String(Number(size >= 100 ? value.toFixed(0) : value.toPrecision(3)));
  }

  // Legend

  function legend(box, runs) {
    const entry = (word, draw) => {
      const canvas = make("canvas", undefined, { width: 52, height: 28, "aria-hidden": "true" });
      const context = canvas.getContext("2d");
      context.scale(2, 2);
      draw(context);
      const span = make("span");
      span.append(canvas, document.createTextNode(word));
      return span;
    };
    const used = new Set(runs.flatMap((run) => [OK, REFUSED, FAIL, INFO].filter((kind) => run.ops.ended.includes(kind))));
    const marks = ["ok", "fail: mismatch", "fail: unavailable", "info: unknown"];
    const entries = [OK, REFUSED, FAIL, INFO].filter((kind) => used.has(kind)).map((kind) => entry(marks[kind], (context) => {
      const height = [7, 4, 9, 14][kind];
      context.fillStyle = ink[ENDED[kind]];
      context.fillRect(1, 7 - height / 2, 24, height);
      if (kind === FAIL || kind === INFO) {
        context.fillStyle = pattern(context, kind === FAIL ? "slow" : "down", ink.bg);
        context.fillRect(1, 7 - height / 2, 24, height);
        context.strokeStyle = ink[ENDED[kind]];
        context.strokeRect(1.5, 7.5 - height / 2, 23, height - 1);
      }
    }));
    const families = new Set(runs.flatMap((run) => run.faults.map((fault) => fault.family)));
    for (const family of families) {
      entries.push(entry(FAMILIES[family] || family, (context) => band(context, { family }, 1, 25, 25, 0, 14, 1)));
    }
    if (runs.some((run) => run.nodes.some((node) => node.events.length))) {
      entries.push(entry("event in its log", (context) => {
        context.fillStyle = ink.fg;
        context.translate(13, 7);
        context.rotate(Math.PI / 4);
        context.fillRect(-3, -3, 6, 6);
      }));
    }
    if (runs.some((run) => run.verdicts.length)) {
      entries.push(entry("evidence", (context) => {
        context.strokeStyle = ink.bad;
        context.lineWidth = 2;
        context.strokeRect(2, 2, 22, 10);
      }));
    }
    box.replaceChildren(...entries);
  }

  // Pages

  let data = null;

  async function reportPage(text) {
    data = await unpack(text);
    view.full = data.span;
    [view.min, view.max] = data.view;
    readInk();
    const runs = [...document.querySelectorAll("[data-run].lanes")];
    state.painters = runs.map((box) => new Lanes(box, data.runs[Number(box.dataset.run)]));
    const charts = [...document.querySelectorAll("[data-chart]")].map((box) =>
      new Chart(box, data.charts.find((chart) => chart.id === box.dataset.chart)));
    state.painters.push(...charts);
    watchCharts(charts);
    legend(byId("legend"), data.runs);
    links();
    const again = () => {
      readInk();
      legend(byId("legend"), data.runs);
      paint();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    addEventListener("resize", changed);
    printable(charts, again);
    const start = () => {
      select(null);
      zoomTo(...data.view);
      paint();
    };
    Object.assign(window.report, { start, zoomTo, zoomOut, select: (run, row) => select(data.runs[run], row, true),
      paint, lanes: state.painters.slice(0, runs.length), runs: data.runs });
    paint();
  }

  /** Charts that are not near the window wait until they are. */
  function watchCharts(charts) {
    if (!("IntersectionObserver" in window)) return;
    const of = new Map(charts.map((chart) => [chart.box, chart]));
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const chart = of.get(entry.target);
        chart.near = entry.isIntersecting;
        if (chart.near) chart.refresh();
      }
    }, { rootMargin: "300px" });
    for (const chart of charts) watcher.observe(chart.box);
  }

  /** On paper: light, as wide as the page, every chart. */
  function printable(charts, again) {
    const prepare = (now) => {
      printing = now;
      document.documentElement.classList.toggle("printing", now);
      for (const chart of charts) {
        if (now) [chart.kept, chart.near] = [chart.near, true];
        else chart.near = chart.kept;
      }
      again();
    };
    addEventListener("beforeprint", () => prepare(true));
    addEventListener("afterprint", () => prepare(false));
  }

  /** The overview of runs: rows that match what is asked for. */
  function indexPage(rows) {
    const word = byId("search"), outcomes = [...document.querySelectorAll("[data-outcome-filter]")];
    const experiment = byId("experiment");
    const apply = () => {
      const asked = word.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const allowed = new Set(outcomes.filter((box) => box.checked).map((box) => box.value));
      let count = 0;
      for (const row of rows) {
        const shown = allowed.has(row.dataset.outcome)
          && (!experiment.value || row.dataset.experiment === experiment.value)
          && asked.every((one) => row.textContent.toLowerCase().includes(one));
        row.hidden = !shown;
        count += shown;
      }
      byId("count").value = `${count} of ${rows.length} runs`;
      window.report.shown = count;
    };
    [word, experiment, ...outcomes].forEach((control) => control.addEventListener("input", apply));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-only]");
      if (!button) return;
      experiment.value = button.dataset.only;
      apply();
      byId("runs").scrollIntoView({ block: "start" });
    });
    apply();
  }

  window.report = { ready: false, paints: 0, paintMs: 0, visible: 0, raw: 0, selected: null, view: null };
  document.documentElement.classList.add("scripted");
  const opened = () => {
    window.report.ready = true;
    window.report.openMs = performance.now();
    document.documentElement.classList.add("ready");
  };
  const held = byId("data");
  if (held) {
    reportPage(held.textContent).then(opened);
  } else {
    indexPage([...document.querySelectorAll("tr[data-outcome]")]);
    opened();
  }
})();
