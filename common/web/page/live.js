// What both pages share: the stream of events, elements without markup from strangers, numbers as people read them.

const RETRY_MS = [500, 1000, 2000, 3000];
const SILENT_MS = 5000; // five messages are missing: the connection is half open

/** Make an element. Strings become text, never markup; `on…` and `data-…` are given as attributes. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function drawing(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const $ = (id) => document.getElementById(id);

/** Follow `/events`; come back by itself when the daemon does. `handlers`: first(message), news(message). */
export function follow(handlers) {
  let attempt = 0;
  let version = null;
  let source = null;
  let silence = null;

  const say = (state, text) => {
    $("connection").dataset.state = document.body.dataset.state = state;
    $("connection").textContent = text;
  };
  const lost = () => {
    clearTimeout(silence);
    source.close();
    say("lost", "○ disconnected, trying again");
    setTimeout(again, RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)]);
  };
  const again = async () => {
    // A token that has been changed shows in the status code, which an EventSource does not tell.
    try {
      const answer = await fetch("/status", { cache: "no-store" });
      if (answer.status === 401 || answer.status === 421) return location.reload();
    } catch {
      return void setTimeout(again, RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)]);
    }
    open();
  };
  const heard = (event, handler) => {
    clearTimeout(silence);
    silence = setTimeout(lost, SILENT_MS);
    attempt = 0;
    const message = JSON.parse(event.data);
    if (message.version && version && message.version !== version) return location.reload();
    version = message.version ?? version;
    const starting = message.status.state === "starting";
    say(starting ? "starting" : "live", starting ? "◐ starting" : "● live");
    if (!starting) handler(message);
  };
  const open = () => {
    source = new EventSource("/events");
    source.addEventListener("first", (event) => heard(event, handlers.first));
    source.addEventListener("news", (event) => heard(event, handlers.news));
    source.onerror = lost;
  };
  open();
}

/** Put a status into all elements with `data-path`; what they show is made from what `data-raw` then says. */
export function show(status) {
  for (const node of document.querySelectorAll("[data-path]")) {
    const value = find(status, node.dataset.path);
    const raw = JSON.stringify(value ?? null);
    if (node.dataset.raw === raw) continue;
    node.dataset.raw = raw;
    node.textContent = value === null || value === undefined ? "–" : formats[node.dataset.format ?? "text"](value);
  }
}

export function find(document, path) {
  return path.split(".").reduce((found, name) => found?.[name], document);
}

const significant = (value, digits = 3) => Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6, useGrouping: false });

export const formats = {
  text: (value) => String(value),
  count: (value) => value.toLocaleString("en").replaceAll(",", "\u202f"),
  ms: (value) => (value >= 1000 ? `${significant(value / 1000)} s` : `${significant(value)} ms`),
  mbit: (value) => `${significant(value)} Mbit/s`,
  fps: (value) => `${significant(value)} /s`,
  share: (value) => `${significant(value * 100)} %`,
  days: (value) => `${Math.floor(value)} days`,
  yes: (value) => (value ? "yes" : "no"),
  times: (value) => `${significant(value)} ×`,
  seconds: (value) => {
    const [d, h, m] = [Math.floor(value / 86400), Math.floor(value / 3600) % 24, Math.floor(value / 60) % 60];
    return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min` : `${Math.floor(value)} s`;
  },
  bytes: (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    const power = value ? Math.min(Math.floor(Math.log2(value) / 10), 4) : 0;
    return `${significant(value / 1024 ** power)} ${units[power]}`;
  },
  time: (value) => new Date(value * 1000).toLocaleTimeString("en-GB"),
};

/** Show lines that a person should see: [text, mild?]. */
export function notice(lines) {
  const nodes = lines.map(([text, mild]) => element("li", { class: mild ? "mild" : null, role: "status" }, text));
  const before = [...$("notices").children].map((node) => node.textContent).join("\n");
  if (before !== lines.map(([text]) => text).join("\n")) $("notices").replaceChildren(...nodes);
}

/** What the daemon's machine and process are like, as pairs for a list. */
export function machinePairs(process) {
  const pairs = [
    ["up for", formats.seconds(process.uptime_s)],
    ["memory", formats.bytes(process.rss_bytes)],
    ["load, 1 min", `${process.load_1_min} on ${process.processors} processors`],
    ["files open", formats.count(process.open_files)],
  ];
  for (const [chip, celsius] of Object.entries(process.temperatures_c)) pairs.push([`${chip}`, `${celsius} °C`]);
  if (process.throttling) {
    const now = Object.entries(process.throttling).filter(([, so]) => so).map(([what]) => what.replaceAll("_", " "));
    pairs.push(["throttling", now.length ? now.join(", ") : "none"]);
  }
  return pairs;
}

export function fillPairs(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
