// The boxes with which an operator asks the relay: watch, publish, why and trace.

import {events, lines, Refused, request} from "./feed.js";
import * as format from "./format.js";

const maxRows = 200; // rows that a log shows
const maxLength = 4000; // characters that are shown of a row

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
    line.textContent = text;
  }

  // row adds a row to the log, as text.
  row(text, note = false) {
    const row = document.createElement("p"), time = document.createElement("time"), content = document.createElement("span");
    time.textContent = format.time(Date.now());
    content.textContent = text.length > maxLength ? `${text.slice(0, maxLength)}… (${text.length} characters in total)` : text;
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
  async work(fields, signal) {
    const response = await request("why?" + query(fields), {signal});
    let answers = 0;
    for await (const line of lines(response)) {
      if (line.trim() === "") continue;
      answers++;
      this.row(sentence(line));
    }
    this.answer(answers === 1 ? "1 answer" : `${answers} answers`);
  }
}

class Trace extends Box {
  async work({channel}, signal) {
    const response = await request("trace?" + query({channel}), {signal});
    this.answer(`following ${channel}`);
    for await (const {data} of events(response)) this.row(sentence(data));
    this.answer("the trace has ended");
  }
}

// sentence returns the text of a line that may be an object with one.
function sentence(line) {
  let fields;
  try {
    fields = JSON.parse(line);
  } catch {
    return line;
  }
  if (typeof fields !== "object" || fields === null) return line;
  const {text, do: advice, user, session} = fields;
  if (typeof text !== "string") return line;
  const who = [user && `user ${user}`, session && `session ${session}`].filter(Boolean).join(", ");
  return [who && who + ": ", text, advice ? "\n→ " + advice : ""].join("");
}

// start makes the boxes work. onRefused is called if the relay wants a token.
export function start(onRefused) {
  return [new Watch("watch", onRefused), new Publish("publish", onRefused), new Why("why", onRefused), new Trace("trace", onRefused)];
}
