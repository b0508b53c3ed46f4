// The model's units as a picture with the live cut in it. Units stand by their depth, line by line like text.

import { drawing, element, formats } from "/assets/live.js";

const LARGE = { width: 78, height: 24, gapX: 16, gapY: 9, names: true };
const SMALL = { width: 26, height: 15, gapX: 12, gapY: 6, names: false }; // of a model with very many units
const MANY = 70;
const LONGEST = 13;
const STRETCH = 1.45; // boxes grow to fill a line, up to so many times their width
const MARGIN = 8;

export class Units {
  constructor(container, legend, readout) {
    Object.assign(this, { container, legend, readout, graph: [], edge: new Set(), crossing: new Set(), drawnWidth: 0, key: "" });
    new ResizeObserver(() => this.draw()).observe(container);
  }

  set(graph) {
    this.graph = graph;
    this.drawnWidth = 0;
    this.draw();
  }

  cut(edgeUnits, crossing) {
    const key = `${edgeUnits}|${crossing}`;
    if (key === this.key) return;
    this.key = key;
    this.edge = new Set(edgeUnits);
    this.crossing = new Set(crossing);
    this.paint();
  }

  place(form, columns) {
    const depth = [];
    this.graph.forEach((unit, i) => { depth[i] = 1 + Math.max(-1, ...unit.inputs.map((input) => depth[input])); });
    const levels = [];
    depth.forEach((level, i) => (levels[level] ??= []).push(i));
    const boxes = [];
    let top = MARGIN;
    for (let first = 0; first < levels.length; first += columns) {
      const shown = levels.slice(first, first + columns);
      shown.forEach((units, column) => units.forEach((i, lane) => {
        boxes[i] = { x: MARGIN + column * (form.width + form.gapX), y: top + lane * (form.height + form.gapY), line: first };
      }));
      top += Math.max(...shown.map((units) => units.length)) * (form.height + form.gapY) + form.gapY + 4;
    }
    return { boxes, height: top };
  }

  draw() {
    const width = this.container.clientWidth;
    if (!this.graph.length || !width || Math.abs(width - this.drawnWidth) < 4) return;
    this.drawnWidth = width;
    const least = this.graph.length > MANY ? SMALL : LARGE;
    const room = width - 2 * MARGIN - 4;
    const columns = Math.max(2, Math.floor((room + least.gapX) / (least.width + least.gapX)));
    const form = { ...least, width: Math.min((room + least.gapX) / columns - least.gapX, least.width * STRETCH) };
    const { boxes, height } = this.place(form, columns);
    const picture = drawing("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "the model's units" });
    this.wires = [];
    this.graph.forEach((unit, i) => unit.inputs.forEach((input) => {
      const path = drawing("path", { d: wire(boxes[input], boxes[i], form) });
      this.wires.push({ path, from: input, to: i });
      picture.append(path);
    }));
    this.boxes = this.graph.map((unit, i) => {
      const { x, y } = boxes[i];
      const node = drawing("g", { tabindex: 0, role: "img" }, drawing("rect", { x, y, width: form.width, height: form.height, rx: 4 }));
      if (form.names) {
        const short = unit.name.length > LONGEST ? `…${unit.name.slice(1 - LONGEST)}` : unit.name;
        node.append(drawing("text", { x: x + form.width / 2, y: y + 16 }, short));
      }
      for (const event of ["pointerenter", "focus", "click"]) node.addEventListener(event, () => { this.readout.textContent = this.tell(i); });
      picture.append(node);
      return node;
    });
    this.container.replaceChildren(picture);
    this.paint();
  }

  tell(i) {
    const unit = this.graph[i];
    const side = this.edge.has(i) ? "on the edge" : "in the cloud";
    const crosses = this.crossing.has(i) ? ", crosses the cut" : "";
    return `${unit.name}: ${side}, hands on ${formats.bytes(unit.bytes)}${crosses}`;
  }

  paint() {
    if (!this.boxes) return;
    this.boxes.forEach((node, i) => {
      node.setAttribute("class", `unit ${this.edge.has(i) ? "edge" : "cloud"}${this.crossing.has(i) ? " crosses" : ""}`);
      node.setAttribute("aria-label", this.tell(i));
    });
    for (const { path, from, to } of this.wires) {
      path.setAttribute("class", this.edge.has(from) && !this.edge.has(to) ? "wire crosses" : "wire");
    }
    const key = (kind, text) => element("span", { class: "key" }, drawing("svg", { viewBox: "0 0 18 12" }, drawing("g", { class: `unit ${kind}` }, drawing("rect", { x: 1.5, y: 1.5, width: 15, height: 9, rx: 2 }))), text);
    this.legend.replaceChildren(
      key("edge", `${this.edge.size} on the edge`),
      key("cloud", `${this.graph.length - this.edge.size} in the cloud`),
      key("edge crosses", `${this.crossing.size} cross`),
    );
  }
}

function wire(from, to, form) {
  const [x1, y1] = [from.x + form.width, from.y + form.height / 2];
  const [x2, y2] = [to.x, to.y + form.height / 2];
  if (from.line === to.line) {
    const bend = Math.max((x2 - x1) / 2, 8);
    return `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
  }
  const between = to.y - form.gapY / 2 - 2; // to the next line, as a carriage returns
  return `M${x1},${y1} h5 V${between} H${x2 - 5} V${y2} h5`;
}
