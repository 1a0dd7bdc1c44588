import { connect } from "./sidecast.mjs";
import { updateExamples } from "./lines.js";
import { addMessage, addNote, clear } from "./log.js";

const $ = (id) => document.getElementById(id);

// Why the relay refuses a client or a channel, by close code or error code.
const PROBLEMS = {
  1008: "The relay rejected the request: it is not permitted, or there were too many",
  4401: "You must log in to use this relay",
  4403: "You have no access to this channel",
  4409: "The application closed this connection",
  bad_channel: "The relay rejected the name of this channel",
  forbidden: "You have no access to this channel",
  unauthorized: "You must log in to receive this channel",
};

const NEWEST = 20; // messages with which a channel begins

// Why messages may be missing, by the reason of the gap.
const GAPS = {
  history: "this page read too slowly",
  redis: "the relay lost its connection to Redis",
  reset: "the stream was replaced",
  too_large: "a message was too large",
  trimmed: "the stream no longer has them",
  unrecovered: "the relay no longer has them",
};

let relay;
let channel;
let subscribed = false; // at least once
let timer = 0; // of the countdown

function showStatus(state, text) {
  clearTimeout(timer);
  $("status").dataset.state = state;
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
  $("countdown").textContent = "";
  $("retry").hidden = state !== "waiting" && state !== "stopped";
  $("send").querySelector("button").disabled = state !== "live";
}

function countDown(time) {
  const seconds = Math.ceil((time - Date.now()) / 1000);
  $("countdown").textContent = seconds > 0 ? ` in ${seconds}\u00a0s` : "";
  if (seconds > 0) timer = setTimeout(countDown, 500, time);
}

function showState({ state, code, retryIn }) {
  const problem = PROBLEMS[code] && `${PROBLEMS[code]} (${code})`;
  switch (state) {
    case "connecting":
      if ($("status").dataset.state !== "waiting") showStatus("connecting", "Connecting");
      break;
    case "open":
      if (subscribed) showStatus("live", "Connected");
      break;
    case "redis-offline":
      showStatus("offline", "Redis is unavailable: no messages arrive");
      break;
    case "waiting":
      showStatus("waiting", problem ? `${problem}, retrying` : "Disconnected, retrying");
      countDown(Date.now() + retryIn);
      break;
    case "closed":
      showStatus("stopped", problem);
  }
}

// start subscribes with a new connection, which sends the browser's current cookies.
function start(name) {
  const old = relay;
  const current = relay = connect("ws");
  old?.close();
  subscribed = false;
  relay.on("state", (event) => { if (current === relay) showState(event); });
  channel = relay.channel(name, {
    last: NEWEST,
    load() { // runs when the relay has subscribed the page
      subscribed = true;
      showState(relay);
    },
  });
  channel.on("message", addMessage);
  channel.on("gap", ({ reason }) => addNote(`Messages may be missing here: ${GAPS[reason]}.`));
  channel.on("error", ({ code, message }) => showStatus("stopped", `${PROBLEMS[code] ?? message} (${code})`));
  showState(relay);
}

$("retry").addEventListener("click", () => {
  if ($("status").dataset.state === "stopped") start(channel.name);
  else dispatchEvent(new Event("online")); // then the client retries at once, and resumes
});

// The rules that every relay has for channel names.
function nameError(name) {
  if (name === "") return "Enter a channel name, for example chat.";
  if (new TextEncoder().encode(name).length > 200) return "A channel name can have at most 200 bytes.";
  if (/[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069\uFEFF]/u.test(name)) return "This name contains invisible characters.";
  return "";
}

function subscribe(name) {
  const error = nameError(name);
  $("fault").textContent = error;
  $("channel").toggleAttribute("aria-invalid", error !== "");
  if (error) return false;
  document.title = `${name} · Sidecast`;
  clear();
  updateExamples(name);
  start(name);
  return true;
}

$("listen").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("channel").value;
  if (subscribe(name)) history.replaceState(null, "", "?" + new URLSearchParams({ channel: name }));
});

$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if ($("status").dataset.state !== "live" || text === "") return;
  channel.publish(text).catch((error) => addNote(`Your message may not have been sent: ${error.message}.`));
  $("text").value = "";
});

const requested = new URLSearchParams(location.search).get("channel");
if (requested !== null) $("channel").value = requested;
subscribe($("channel").value);
