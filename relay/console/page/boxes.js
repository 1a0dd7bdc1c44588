// The boxes with which an operator asks the relay: watch, publish, why and trace.

import {events, lines, Refused, request} from "./feed.js";
import * as format from "./format.js";

const maxRows = 200; // rows that a log shows
const maxLength = 4000; // characters that are shown of a row
const slack = 2000; // milliseconds before and after the time of a question

const $ = (id) => document.getElementById(id);

// A Box is a form, the line with its answer, and perhaps a log.
class Box {
  constructor(name, onRefused) {
    this.name = name;
    this.form = $(name);
    this.button = this.form.querySelector("button");
    this.label = this.button.textContent;
    this.log = $(name + "-log");
    this.onRefused = onRefused;
    this.running = null; // an AbortController
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.running) this.running.abort();
      else this.run(Object.fromEntries(new FormData(this.form)));
    });
  }

  // run runs the box's work until it is stopped or has ended.
  async run(fields) {
    this.running = new AbortController();
    this.button.textContent = "Stop";
    if (this.log) this.log.replaceChildren(), this.log.hidden = true;
    this.answer("");
    try {
      await this.work(fields, this.running.signal);
    } catch (problem) {
      if (!this.running.signal.aborted) {
        this.answer(problem instanceof Refused ? problem.message : "the relay is not reachable", "bad");
        if (problem instanceof Refused && problem.needsToken) this.onRefused();
      }
    }
    if (this.running.signal.aborted) this.answer("stopped");
    this.running = null;
    this.button.textContent = this.label;
  }

  answer(text, state = "") {
    const line = $(this.name + "-answer");
    line.dataset.state = state;
    line.textContent = format.visible(text);
  }

  // row adds a row to the log, as text.
  row(text, note = false) {
    const row = document.createElement("p"), time = document.createElement("time"), content = document.createElement("span");
    time.textContent = format.time(Date.now());
    const more = text.length > maxLength ? `… (${text.length} characters in total)` : "";
    content.textContent = format.visibleLines(text.slice(0, maxLength)) + more;
    row.append(time, content);
    if (note) row.className = "note";
    const log = this.log, atEnd = log.hidden || log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(row);
    log.hidden = false;
    while (log.childElementCount > maxRows) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}

const query = (fields) => new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== "")).toString();

class Watch extends Box {
  async work({channel}, signal) {
    const response = await request("console/watch?" + query({channel}), {signal});
    this.answer(`messages on ${channel} from now on`);
    for await (const {name, data} of events(response)) {
      const frame = JSON.parse(data);
      if (name === "close") this.row(`the relay has ended the stream: ${frame.code} ${frame.reason ?? ""}`, true);
      else if (frame.type === "message") this.row(frame.data ?? `binary, in base64: ${frame.base64}`);
      else if (frame.type === "offline" || frame.offline) this.row("Redis is not connected", true);
      else if (frame.type === "gap") this.row(`gap: messages may be missing (${frame.reason})`, true);
      else if (frame.type === "error" || frame.type === "unsubscribed") this.row(`${frame.type}: ${frame.code ?? frame.reason ?? ""}`, true);
    }
    this.answer("the stream has ended");
  }
}

class Publish extends Box {
  async work({channel, text}, signal) {
    await request("console/publish?" + query({channel}), {method: "POST", body: text, signal});
    this.answer(`Redis has accepted the message on ${channel} at ${format.time(Date.now())}`);
  }
}

class Why extends Box {
  async work({channel, at, user}, signal) {
    const ms = format.moment(at);
    if (Number.isNaN(ms)) return this.answer("write the time like 10:42:13, or with a date like 2026-01-31T10:42:13Z", "bad");
    const zone = -60 * new Date(ms).getTimezoneOffset(); // the sentences have times in it
    const response = await request("why?" + query({channel, from: ms - slack, to: ms + slack, user, zone}), {signal});
    let answers = 0;
    for await (const line of lines(response)) {
      if (line.trim() === "") continue;
      if (++answers <= maxRows) this.row(explained(line)); // what went wrong comes first
    }
    if (answers > 0) this.log.scrollTop = 0;
    const rest = answers > maxRows ? `, of which the first ${maxRows} are shown` : "";
    this.answer((answers === 1 ? "1 answer" : `${answers} answers`) + rest);
  }
}

class Trace extends Box {
  async work({channel}, signal) {
    const response = await request("trace?" + query({channel}), {signal});
    this.answer(`following ${channel}`);
    for await (const {data} of events(response)) this.row(traced(data, channel));
    this.answer("the trace has ended");
  }
}

// parsed returns the object in a line, or null.
function parsed(line) {
  try {
    const value = JSON.parse(line);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

const whose = ({user, session}) => format.visible([user && `user ${user}`, session && `session ${session}`].filter(Boolean).join(", "));

// explained returns the text of a line of /why: a sentence with what to do. Lines that it does not know stay as they are.
function explained(line) {
  const answer = parsed(line);
  if (typeof answer?.text !== "string") return line;
  const {text, do: advice} = answer;
  return [whose(answer) && whose(answer) + ": ", text, advice ? "\n→ " + advice : ""].join("");
}

// sentences are the texts of the events of /trace.
const sentences = new Map(Object.entries({
  start: () => "the relay follows the channel from now on",
  message: (e) => `message of ${format.bytes(e.size ?? 0)} to ${clients(e)}`,
  too_large: (e) => `message that is too large: ${clients(e)} received a gap`,
  dropped: (e) => `message dropped: ${e.reason}`,
  nudge: () => "PUBLISH on a durable channel: the relay reads the stream",
  join: (e) => `a client subscribed with ${e.protocol}`,
  leave: () => "a client unsubscribed, or its connection ended",
  refused: (e) => `a client was refused: ${[e.command, e.reason].filter(Boolean).join(", ")}`,
  evicted: () => "a client read too slowly and was disconnected",
  gap: (e) => `gap: clients may have missed messages (${e.reason})`,
  link_up: () => "Redis connected",
  link_down: () => "Redis connection lost",
  missed: () => "more happens than can be followed: some lines are missing",
}));

function clients({listeners, protocols}) {
  const kinds = Object.entries(protocols ?? {}).map(([name, n]) => `${n} ${name}`).join(", ");
  return `${listeners === 1 ? "1 client" : `${listeners} clients`}${kinds && ` (${kinds})`}`;
}

// traced returns the text of an event of /trace.
function traced(data, channel) {
  const event = parsed(data), sentence = sentences.get(event?.kind);
  if (!sentence) return data;
  const other = event.channel && event.channel !== channel ? `on ${event.channel}: ` : "";
  return format.visible(other + sentence(event) + (whose(event) && ` (${whose(event)})`));
}

// start makes the boxes work. onRefused is called if the relay wants a token.
export function start(onRefused) {
  return [new Watch("watch", onRefused), new Publish("publish", onRefused), new Why("why", onRefused), new Trace("trace", onRefused)];
}
