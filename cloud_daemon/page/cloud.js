// The cloud's page: edges, load, batches, queue, as `/events` tells them.

import { Chart } from "/assets/chart.js";
import { $, drawing, element, fillPairs, follow, formats, machinePairs, notice, show } from "/assets/live.js";

const KEPT_S = 900;
const ENDED_WELL = "answered";

const points = new Map();
const reading = (id) => (text) => { $(id).textContent = text; };
const load = new Chart($("load"), {
  series: [{ label: "load", colour: "cloud", fill: "cloud-soft" }],
  format: (value) => formats.share(value),
  scale: { range: () => [0, 1.02] },
  read: reading("load-readout"),
});
const answers = new Chart($("answers"), {
  series: [{ label: "answers a second", colour: "edge" }, { label: "waiting", colour: "link", dash: [2, 4], width: 1.5 }],
  format: (value) => `${Number(value.toPrecision(3))}`,
  scale: { range: (_, least, most) => [0, Math.max(most ?? 0, 1) * 1.1] },
  read: reading("answers-readout"),
});

follow({ first: (message) => { points.clear(); news(message); }, news });

function news(message) {
  const { status, now } = message;
  show(status);
  for (const [at, ...values] of message.points) points.set(at, values);
  for (const at of points.keys()) if (at < now - KEPT_S) points.delete(at);
  const sorted = [...points].sort(([a], [b]) => a - b);
  const times = sorted.map(([at]) => at);
  load.set([times, sorted.map(([, [share]]) => share)], now);
  answers.set([times, sorted.map(([, [, , rate]]) => rate), sorted.map(([, [, waiting]]) => waiting)], now);
  listEdges(status.edges, now);
  listModels(status.models);
  drawBatches(status.batches.frames_by_size);
  tellOutcomes(status.frames);
  tellMachine(status);
  notice(notices(status));
}

function row(key, cells) {
  return element("tr", { "data-row": key }, ...cells.map(([name, value, number]) => element("td", { "data-name": name, class: number ? "number" : null }, value)));
}

function listEdges(edges, now) {
  $("edge-count").textContent = formats.count(edges.length);
  $("no-edges").hidden = edges.length > 0;
  $("edges").replaceChildren(...edges.map((edge) => row(edge.session, [
    ["name", element("span", {}, element("strong", {}, edge.name), " ", element("span", { class: `badge${edge.tls ? "" : " warn"}` }, edge.tls ? "TLS" : "not encrypted"))],
    ["address", edge.address],
    ["model", edge.model],
    ["since", `${formats.time(edge.since)}, ${formats.seconds(Math.max(now - edge.since, 0))}`],
    ["answered", formats.count(edge.answered), true],
    ["a second", formats.fps(edge.answered_per_s), true],
    ["in flight", formats.count(edge.in_flight), true],
  ])));
}

function listModels(models) {
  $("models").replaceChildren(...models.map((model) => row(model.name, [
    ["name", model.name], ["weights", model.weights], ["units", formats.count(model.units), true], ["device", model.device], ["executor", model.executor],
  ])));
}

function drawBatches(framesBySize) {
  const sizes = Object.entries(framesBySize);
  if (!sizes.length) return $("batches").replaceChildren(element("p", { class: "empty" }, "No frame has been answered yet."));
  const most = Math.max(...sizes.map(([, frames]) => frames));
  const all = sizes.reduce((sum, [, frames]) => sum + frames, 0);
  const [width, height] = [340, 26];
  const picture = drawing("svg", { viewBox: `0 0 ${width} ${sizes.length * height}`, width: "100%", role: "img", "aria-label": sizes.map(([size, frames]) => `${frames} frames in batches of ${size}`).join(", ") });
  sizes.forEach(([size, frames], i) => {
    const long = Math.max((170 * frames) / most, 1);
    picture.append(
      drawing("text", { class: "size", x: 28, y: i * height + 17 }, size),
      drawing("rect", { class: "bar", x: 36, y: i * height + 4, width: long, height: 18, rx: 2 }),
      drawing("text", { class: "muted", x: 42 + long, y: i * height + 17 }, `${formats.count(frames)} (${formats.share(frames / all)})`),
    );
  });
  $("batches").replaceChildren(picture);
}

function tellOutcomes(frames) {
  const { received, in_flight: here, ...ends } = frames;
  fillPairs($("outcomes"), [
    ["received", formats.count(received)],
    ["= in flight", formats.count(here)],
    ...Object.entries(ends).map(([name, count]) => [`+ ${name.replaceAll("_", " ")}`, formats.count(count)]),
  ]);
  const lost = Object.entries(ends).filter(([name, count]) => name !== ENDED_WELL && count);
  $("lost").textContent = formats.count(lost.reduce((sum, [, count]) => sum + count, 0));
  $("lost-why").textContent = lost.map(([name, count]) => `${formats.count(count)} ${name.replaceAll("_", " ")}`).join(", ") || "none";
}

function tellMachine({ process, channel, tls, gpu }) {
  fillPairs($("machine"), [
    ["channel", channel],
    ...(tls ? [["certificate", `${tls.as}, ${tls.certificate}, ${formats.days(tls.days_left)} left`]] : []),
    ...(gpu ? [["GPU memory", `${formats.bytes(gpu.total_bytes - gpu.free_bytes)} of ${formats.bytes(gpu.total_bytes)} in use`]] : []),
    ...machinePairs(process),
  ]);
}

function notices({ channel, tls, models, listen, process }) {
  const lines = [];
  if (listen === null) lines.push(["Shutting down: edges cannot connect."]);
  if (tls && tls.certificate !== "valid") lines.push([`This cloud's certificate is ${tls.certificate}: ${formats.days(tls.days_left)} left.`]);
  if (process.throttling && Object.values(process.throttling).some(Boolean)) lines.push(["The processor is throttled now (heat, or too little power)."]);
  if (channel.startsWith("INSECURE")) lines.push([`The channel is ${channel}.`, true]);
  if (models.some((model) => model.weights.startsWith("random:"))) lines.push(["Random weights: the answers mean nothing.", true]);
  return lines;
}
