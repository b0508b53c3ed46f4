// The two ends of the edge: where frames come from, and who is told of answers.

import { element, fillPairs, formats } from "/assets/live.js";

/** Fill a list of pairs with what the status says of the source. */
export function fillSource(list, { source, sampling, results }) {
  const since = `${source.condition}, for ${formats.seconds(source.for_s)}`;
  fillPairs(list, [
    [source.kind, source.name],
    ["state", source.fps === null ? since : `${since}; gives ${formats.fps(source.fps)}`],
    ["taken", `${sampling.fps === null ? "as fast as they are answered" : formats.fps(sampling.fps)}${sampling.reason ? `: ${sampling.reason}` : ""}`],
    ["delivery", results.delivery],
    ...(source.restarts ? [["started again", `${formats.count(source.restarts)} times; last: ${source.last_error}`]] : []),
  ]);
}

/** Fill the table of sinks: the results file first, which the others follow. */
export function fillSinks(body, { results, sinks, frames }) {
  const written = frames.answered + frames.failed;
  const rows = [
    row("results", results.trouble ? "not written" : "written", results.trouble ?? (results.path === "-" ? "stdout" : results.path), written, null, results.trouble),
    ...sinks.map((sink) => row(sink.name, sink.connected ? "connected" : "away", told(sink), sink.sent, sink.spooled_records, !sink.connected)),
  ];
  body.replaceChildren(...rows);
}

function told({ connected, last_error: error, dropped, refused, damaged }) {
  const lost = Object.entries({ dropped, refused, damaged }).filter(([, count]) => count).map(([name, count]) => `${formats.count(count)} ${name}`);
  return [...(connected || !error ? [] : [error]), ...lost].join("; ");
}

function row(name, state, words, sent, waiting, troubled) {
  return element("tr", { "data-sink": name },
    element("td", { "data-name": "to" }, element("strong", {}, name)),
    element("td", { "data-name": "state" }, troubled ? element("span", { class: "badge warn" }, state) : state),
    element("td", { "data-name": "records", class: "number" }, formats.count(sent)),
    element("td", { "data-name": "waiting", class: "number" }, waiting === null ? "–" : formats.count(waiting)),
    element("td", { class: "words" }, words),
  );
}
