// The edge's page: what `/events` tells, as text, pictures and curves.

import { Chart } from "/assets/chart.js";
import { $, drawing, element, fillPairs, follow, formats, machinePairs, notice, show } from "/assets/live.js";
import { fillSinks, fillSource } from "/assets/ends.js";
import { Gantt } from "/assets/gantt.js";
import { Units } from "/assets/units.js";

const KEPT_S = 900;
const SWITCHES_SHOWN = 30;

const past = { bandwidths: new Map(), latencies: new Map(), switches: new Map() };
const units = new Units($("units"), $("units-legend"), $("units-readout"));
const gantt = new Gantt($("gantt"), $("gantt-legend"));

const marks = () => [...past.switches.values()].filter((one) => one.before !== null).map((one) => ({
  at: one.at, label: `${one.epoch}`, text: `plan ${one.epoch}: ${one.before} → ${one.cut}, ${one.reason}`,
}));
const reading = (id) => (text) => { $(id).textContent = text; };
const bandwidth = new Chart($("bandwidth"), {
  series: [{ label: "bandwidth", colour: "link", fill: "link-soft", step: true }],
  format: (value, short) => (short ? `${Number(value.toPrecision(2))}` : formats.mbit(value)),
  height: (mbit) => Math.log10(1 + mbit), // a tenth of the bandwidth is as far from it as ten times, and none can be drawn
  splits: [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000],
  scale: { range: (_, least, most) => [0, Math.max(most ?? 0, 1) * 1.08] },
  marks, read: reading("bandwidth-readout"),
});
const latency = new Chart($("latency"), {
  series: [{ label: "mean", colour: "edge" }, { label: "worst", colour: "cloud", dash: [2, 4], width: 1.5 }],
  format: (value, short) => (short ? `${Number(value.toPrecision(3))}` : formats.ms(value)),
  scale: { range: (_, least, most) => [0, Math.max(most ?? 0, 1) * 1.1] },
  marks, read: reading("latency-readout"),
});

follow({ first, news });

function first(message) {
  for (const of of Object.values(past)) of.clear();
  gantt.clear();
  units.set(message.graph);
  news(message);
}

function news(message) {
  const { status, now } = message;
  show(status);
  units.cut(message.edge_units, message.crossing);
  remember(message);
  gantt.add(message.frames);
  drawCurves(now);
  if (message.switches.length || !$("switches").hasChildNodes()) listSwitches();
  tellRest(status);
  showLatest(status);
  listAlternatives(status);
  notice(notices(status));
  const since = [...past.switches.values()].at(-1);
  $("since-switch").textContent = since ? `last ${formats.seconds(Math.max(now - since.at, 0))} ago` : "";
}

function remember(message) {
  for (const [at, bps] of message.bandwidths) past.bandwidths.set(at, bps / 1e6);
  for (const [at, mean, worst] of message.latencies) past.latencies.set(at, [mean, worst]);
  for (const one of message.switches) past.switches.set(one.epoch, one);
  for (const of of [past.bandwidths, past.latencies]) {
    for (const at of of.keys()) if (at < message.now - KEPT_S) of.delete(at);
  }
}

function drawCurves(now) {
  const bandwidths = [...past.bandwidths].sort(([a], [b]) => a - b);
  if (bandwidths.length) bandwidths.push([now, bandwidths.at(-1)[1]]);
  bandwidth.set([bandwidths.map(([at]) => at), bandwidths.map(([, mbit]) => mbit)], now);
  const [times, means, worsts] = [[], [], []];
  for (const [at, [mean, worst]] of [...past.latencies].sort(([a], [b]) => a - b)) {
    if (times.length && at - times.at(-1) > 10) { // no frames came: no line either
      times.push(times.at(-1) + 1);
      means.push(null);
      worsts.push(null);
    }
    times.push(at);
    means.push(mean);
    worsts.push(worst);
  }
  latency.set([times, means, worsts], now);
}

function listSwitches() {
  const rows = [...past.switches.values()].sort((a, b) => b.epoch - a.epoch).slice(0, SWITCHES_SHOWN).map((one) => element("tr", { "data-epoch": one.epoch },
    element("td", { "data-name": "plan" }, `${one.epoch}`),
    element("td", { "data-name": "at" }, formats.time(one.at)),
    element("td", { "data-name": "cut" }, one.before === null ? one.cut : `${one.before} → ${one.cut}`),
    element("td", { "data-name": "why" }, element("span", { class: "badge" }, one.cause.replaceAll("_", " "))),
    element("td", { class: "words" }, one.reason),
  ));
  $("switches").replaceChildren(...rows);
}

function tellRest(status) {
  const { frames, link } = status;
  fillSource($("source"), status);
  fillSinks($("sinks"), status);
  $("dropped").textContent = formats.count(frames.dropped_stale + frames.dropped_unrecorded);
  const places = ["waiting", "in_flight", "recording", "answered", "failed", "dropped_stale", "dropped_unrecorded", "left"];
  fillPairs($("counts"), [["seen", formats.count(frames.seen)], ...places.map((name) => [`${name === "waiting" ? "= " : "+ "}${name.replaceAll("_", " ")}`, formats.count(frames[name])])]);
  const downs = Object.entries(status.finished_on_edge).map(([cause, count]) => `${formats.count(count)} (${cause})`);
  $("let-down").textContent = downs.length ? `Finished on the edge, as the cloud let them down: ${downs.join(", ")}.` : "";
  fillPairs($("link"), [
    ["cloud", link.cloud],
    ["state", link.available ? "connected" : `not connected${link.last_error ? `: ${link.last_error}` : ""}`],
    ["channel", link.channel],
    ...(link.tls ? [["certificate", `${link.tls.as}, ${link.tls.certificate}, ${formats.days(link.tls.days_left)} left`]] : []),
    ["session", link.session ?? "–"],
    ["connections", `${link.connections}, suspected ${link.suspicions} times`],
    ["wait in the cloud", formats.ms(status.cloud_wait_ms)],
    ["sent", Object.entries(status.sent_bytes).map(([codec, bytes]) => `${formats.bytes(bytes)} ${codec}`).join(", ") || "–"],
    ["than profiled", `edge ${formats.times(status.slower_than_profiled.edge)}, cloud ${formats.times(status.slower_than_profiled.cloud)}`],
  ]);
  fillPairs($("machine"), machinePairs(status.process));
}

let pictured = null;

/** Show picture and answer together: the answer changes when its picture has come. */
function showLatest({ latest }) {
  if (!latest || latest.frame === pictured) return;
  const frame = pictured = latest.frame;
  const picture = new Image();
  picture.onload = picture.onerror = () => {
    if (pictured !== frame) return;
    if (picture.naturalWidth) $("picture").src = picture.src;
    $("picture").alt = `frame ${frame}: ${latest.name}`;
    $("no-frame").hidden = true;
    $("latest").hidden = false;
    $("latest").dataset.frame = frame;
    $("latest-name").textContent = latest.name;
    $("answered-by").textContent = `Frame ${frame}, answered at ${formats.time(latest.answered_at)} by ${latest.ran === "split" ? "edge and cloud" : latest.ran} in ${formats.ms(latest.total_ms)}.`;
    $("top5").replaceChildren(...latest.top5.map((top) => element("li", {},
      element("div", {}, element("span", {}, top.label), element("span", {}, formats.share(top.probability))),
      drawing("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
        drawing("rect", { class: "track", width: 100, height: 6 }), drawing("rect", { class: "filled", width: 100 * top.probability, height: 6 })),
    )));
  };
  picture.src = `/frame.jpg?frame=${frame}`;
}

function listAlternatives({ alternatives, plan, recent }) {
  const finite = alternatives.filter(({ ms }) => ms.latency !== null);
  const best = finite[0]?.cut;
  const wanted = new Set([plan.cut, ...finite.slice(0, 2).map(({ cut }) => cut), "edge-only", "cloud-only"]);
  const shown = finite.filter(({ cut }) => wanted.has(cut));
  const most = Math.max(...shown.map(({ ms }) => ms.latency), 1);
  const part = (name) => element("span", { class: "key" }, drawing("svg", { viewBox: "0 0 18 12" }, drawing("rect", { class: `bar-${name}`, x: 1, y: 1, width: 16, height: 10 })), name);
  $("alternatives-legend").replaceChildren(...(shown.length ? ["edge", "link", "cloud"].map(part) : []));
  const rows = shown.map(({ cut, ms }) => {
    const bars = drawing("svg", { viewBox: "0 0 400 12", width: "100%", height: 12, preserveAspectRatio: "none", "aria-hidden": "true" });
    let x = 0;
    for (const name of ["edge", "link", "cloud"]) {
      const width = (398 * ms[name]) / most;
      if (width > 0.2) bars.append(drawing("rect", { class: `bar-${name}`, x: x + 1, y: 1, width, height: 10, "vector-effect": "non-scaling-stroke" }));
      x += width;
    }
    const badges = [[plan.cut, "in force"], [best, "least latency"]].filter(([label]) => label === cut).map(([, text]) => element("span", { class: "badge" }, text));
    const measured = cut === plan.cut && recent.median_ms ? `, measured ${formats.ms(recent.median_ms)}` : "";
    return element("div", { class: "cut-row", "data-cut": cut },
      element("div", {}, element("span", {}, element("strong", {}, cut), ...badges), element("span", { class: "took" }, `${formats.ms(ms.latency)}${measured}`)),
      bars);
  });
  $("alternatives").replaceChildren(...(rows.length ? rows : [element("p", { class: "empty" }, "Not known while there is no link, or before both devices are profiled.")]));
}

function notices({ weights, results, source, sinks, link, plan, sampling_fps: rate, process, profiled }) {
  const lines = [];
  if (results.trouble) lines.push([`Results cannot be written: ${results.trouble}`]);
  if (source.condition === "waiting" && source.last_error) lines.push([`The source gives no frames: ${source.last_error}`]);
  for (const { name, connected, last_error: error, spooled_records: waiting } of sinks) {
    if (!connected && error) lines.push([`${name} is away (${error}); ${formats.count(waiting)} records wait for it.`]);
  }
  if (plan.mode === "overloaded") lines.push([`Overloaded: ${formats.fps(rate)} are to be taken, ${formats.fps(plan.sustainable_fps)} can be answered.`]);
  if (!link.available && plan.mode !== "pinned") lines.push([`No link to the cloud${link.last_error ? ` (${link.last_error})` : ""}: the edge answers alone.`]);
  if (link.tls && link.tls.certificate !== "valid") lines.push([`This edge's certificate is ${link.tls.certificate}: ${formats.days(link.tls.days_left)} left.`]);
  if (process.throttling && Object.values(process.throttling).some(Boolean)) lines.push(["The processor is throttled now (heat, or too little power)."]);
  if (weights.startsWith("random:")) lines.push(["Random weights: the answers mean nothing.", true]);
  if (!profiled && plan.mode === "starting") lines.push(["Both devices are being measured; frames are answered meanwhile.", true]);
  return lines;
}
