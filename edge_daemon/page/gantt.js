// The last frames as a Gantt strip: a row each, time from left to right, so that what overlaps stands above each other.

import { drawing, element, formats } from "/assets/live.js";

const PARTS = [["head", "head"], ["encode", "encode"], ["link", "link"], ["queue", "waits in the cloud"], ["tail", "tail"]];
const ROWS = 12;
const LEAST_ROWS = 4;
const ROW = 19;
const BAR = 13;
const NAMES = 52;
const TOTALS = 66;
const LEAST_SPAN_MS = 20;
const SPAN_OF_MEDIANS = 10;

export class Gantt {
  constructor(container, legend) {
    Object.assign(this, { container, frames: new Map(), width: 0 });
    const keys = PARTS.map(([name, text]) => element("span", { class: "key" }, drawing("svg", { viewBox: "0 0 18 12" }, drawing("rect", { class: `part-${name}`, x: 1, y: 1, width: 16, height: 10 })), text));
    legend.replaceChildren(...keys);
    new ResizeObserver(() => { if (container.clientWidth !== this.width) this.draw(); }).observe(container);
  }

  clear() {
    this.frames.clear();
  }

  add(frames) {
    for (const frame of frames) this.frames.set(frame.n, frame);
    const newest = [...this.frames.values()].sort((a, b) => a.began - b.began).slice(-ROWS);
    this.frames = new Map(newest.map((frame) => [frame.n, frame]));
    if (frames.length) this.draw();
  }

  /** The frames to show: of the last twelve, those that are not so far back that all would be slivers. */
  shown() {
    const all = [...this.frames.values()];
    if (!all.length) return all;
    const took = all.map((frame) => frame.total).sort((a, b) => a - b)[Math.floor(all.length / 2)];
    const end = Math.max(...all.map((frame) => frame.began + frame.total));
    const span = Math.max(SPAN_OF_MEDIANS * took, LEAST_SPAN_MS, ...all.slice(-LEAST_ROWS).map((frame) => end - frame.began));
    return all.filter((frame) => end - frame.began <= span);
  }

  draw() {
    const frames = this.shown();
    this.width = this.container.clientWidth;
    if (!frames.length || !this.width) {
      this.container.replaceChildren(element("p", { class: "empty" }, "No frame has been answered yet."));
      return;
    }
    const start = Math.min(...frames.map((frame) => frame.began));
    const span = Math.max(...frames.map((frame) => frame.began + frame.total), start + LEAST_SPAN_MS) - start;
    const plot = this.width - NAMES - TOTALS;
    const x = (ms) => NAMES + ((ms - start) / span) * plot;
    const height = frames.length * ROW + 24;
    const picture = drawing("svg", { viewBox: `0 0 ${this.width} ${height}`, width: this.width, height, role: "img", "aria-label": describe(frames) });
    for (const at of ticks(span, plot / 70)) {
      picture.append(
        drawing("line", { class: "grid", x1: x(start + at), x2: x(start + at), y1: 0, y2: height - 18 }),
        drawing("text", { class: "tick muted", x: x(start + at), y: height - 5 }, formats.ms(at)),
      );
    }
    frames.forEach((frame, row) => picture.append(bar(frame, row * ROW + 2, x)));
    this.container.replaceChildren(picture);
  }
}

function bar(frame, y, x) {
  const node = drawing("g", {}, drawing("text", { class: "name muted", x: NAMES - 6, y: y + 11 }, `#${frame.n}`));
  let at = frame.began;
  const last = frame.began + frame.total;
  // What is in no part: waiting for a cloud that did not answer, before the edge went on.
  node.append(drawing("line", { class: "span", x1: x(at), x2: x(last), y1: y + BAR / 2, y2: y + BAR / 2 }));
  for (const [name, text] of PARTS) {
    const ms = frame.parts[name];
    if (!ms) continue;
    const until = Math.min(at + ms, last);
    const title = drawing("title", {}, `frame ${frame.n}: ${text} ${formats.ms(ms)}`);
    node.append(drawing("rect", { class: `part-${name}`, x: x(at), y, width: Math.max(x(until) - x(at), 1), height: BAR, rx: 1.5 }, title));
    at = until;
  }
  node.append(drawing("text", { class: "total muted", x: x(last) + 5, y: y + 11 }, frame.failed ? "failed" : formats.ms(frame.total)));
  return node;
}

function ticks(span, most) {
  const rough = span / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  return Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => i * step);
}

function describe(frames) {
  return frames.map((frame) => `frame ${frame.n}: ${formats.ms(frame.total)}, ${frame.ran}`).join("; ");
}
