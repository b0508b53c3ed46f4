// Curves over time by uPlot, in the page's colours, with marks across them that tell what they mean when pointed at.

import { formats } from "./live.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const NEAR_PIXELS = 10;
const LEAST_SPAN_S = 60;

/**
 * A chart in `container`. `series`: [{label, colour, dash?, step?, fill?}]; `format` writes a value; `marks()` gives
 * [{at, label, text}], and `read(text)` is told what the pointer is at. Where even steps would not do, `splits` are the
 * values with lines across, and `height` says how high a value is drawn.
 */
export class Chart {
  constructor(container, { series, format, scale = {}, height = (value) => value, splits = null, marks = () => [], read = () => {} }) {
    Object.assign(this, { container, series, format, scale, height, splits, marks, read, data: [[], ...series.map(() => [])], now: 0 });
    new ResizeObserver(() => this.resize()).observe(container);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  set(data, now) {
    this.data = data;
    this.now = now;
    if (!this.plot) return this.build();
    this.plot.setData(this.drawn(), false);
    this.plot.setScale("x", this.range());
  }

  /** What is drawn: times as they are, values at their heights. */
  drawn() {
    const [times, ...values] = this.data;
    return [times, ...values.map((row) => row.map((value) => (value === null ? null : this.height(value))))];
  }

  range() {
    const first = this.data[0][0] ?? this.now;
    return { min: Math.min(first, this.now - LEAST_SPAN_S), max: this.now };
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.container;
    if (this.plot && width) this.plot.setSize({ width, height });
  }

  build() {
    this.plot?.destroy();
    const { clientWidth: width, clientHeight: height } = this.container;
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const options = {
      width, height,
      legend: { show: false },
      padding: [16, 20, 0, 0],
      scales: { x: { time: true, auto: false, range: () => { const { min, max } = this.range(); return [min, max]; } }, y: this.scale },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "time" }, points: { size: 6 } },
      axes: [
        { ...axis, size: 26, space: width < 400 ? 52 : 76, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString("en-GB", splits[1] - splits[0] < 60 ? {} : { hour: "2-digit", minute: "2-digit" })) },
        this.splits === null
          ? { ...axis, size: 52, space: 26, values: (_, splits) => splits.map((value) => this.format(value, true)) }
          : { ...axis, size: 52, splits: (_, __, least, most) => this.splits.map(this.height).filter((height) => height <= most), values: (_, heights) => heights.map((__, i) => this.format(this.splits[i], true)) },
      ],
      series: [
        {},
        ...this.series.map((one) => ({
          label: one.label, stroke: colour(one.colour), width: one.width ?? 2, dash: one.dash,
          fill: one.fill ? colour(one.fill) : undefined, points: { show: false },
          paths: one.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
        })),
      ],
      hooks: { draw: [(plot) => this.drawMarks(plot)], setCursor: [(plot) => this.tell(plot)] },
    };
    this.plot = new uPlot(options, this.drawn(), this.container);
  }

  drawMarks(plot) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("mark");
    ctx.lineWidth = ratio;
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    ctx.font = `${10 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    let free = -Infinity;
    for (const { at, label } of this.marks()) {
      const x = plot.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const half = ctx.measureText(label).width / 2 + 2 * ratio;
      if (x - half > free) {
        ctx.fillText(label, x, bbox.top - 4 * ratio);
        free = x + half;
      }
    }
    ctx.restore();
  }

  tell(plot) {
    const { left, idx } = plot.cursor;
    if (left === undefined || left < 0) return this.read("");
    const near = this.marks().filter(({ at }) => Math.abs(plot.valToPos(at, "x") - left) < NEAR_PIXELS);
    if (near.length) return this.read(near.map(({ text }) => text).join(" · "));
    if (idx === null || idx === undefined) return;
    const values = this.series.map((one, i) => [one.label, this.data[i + 1][idx]]).filter(([, value]) => value !== null && value !== undefined);
    this.read(`${formats.time(this.data[0][idx])}: ${values.map(([label, value]) => `${label} ${this.format(value)}`).join(", ")}`);
  }
}
