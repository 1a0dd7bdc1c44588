import { connect } from "./sidecast.mjs";
import { updateExamples } from "./lines.js";
import { Link, onCaughtUp } from "./link.js";
import { addMessage, addNote, clear } from "./log.js";
import { done, doneOnce, explain, plural, say, showMembers, startTour } from "./tour.js";

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
let sent; // the message that the page published last, until it arrives
let user; // the name that the relay knows the page by

// The login with an invented name, which the tab keeps when it is loaded again. Without it, the page is anonymous.
const invents = document.body.dataset.names === "true";
let pass = invents && storage()?.getItem("pass");

function storage() {
  try {
    return sessionStorage;
  } catch {} // the browser may store nothing
}

async function getPass() {
  if (!pass) {
    const answer = await fetch("demo/name");
    if (!answer.ok) throw new Error(`no name: ${answer.status}`);
    pass = await answer.text();
    storage()?.setItem("pass", pass);
  }
  return pass;
}

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
      if (!subscribed) break;
      showStatus("live", "Connected");
      done("connect", user ? `Connected as ${user}.` : "Connected.");
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
function start(name, presence = invents) {
  const old = relay;
  const current = relay = connect("ws", { WebSocket: Link, token: invents ? getPass : undefined });
  old?.close();
  subscribed = false;
  relay.on("state", (event) => {
    if (current !== relay) return;
    if (event.session) user = event.user;
    if (event.code === 4401) pass = undefined; // of a relay that has restarted
    showState(event);
  });
  channel = relay.channel(name, {
    last: NEWEST,
    presence,
    load() { // runs when the relay has subscribed the page
      subscribed = true;
      showState(relay);
    },
  });
  channel.on("message", (message) => {
    addMessage(message);
    if (message.data !== sent?.text) return doneOnce("publish", "A message arrived.");
    done("publish", `The message arrived after ${Math.ceil(performance.now() - sent.at)} ms.`);
    sent = undefined;
  });
  channel.on("gap", ({ reason }) => {
    addNote(`Messages may be missing here: ${GAPS[reason]}.`);
    done("gap", `Gap (${reason}): messages may be missing. A page loads its state again.`);
  });
  channel.on("error", (error) => {
    if (presence && error.code === "bad_request") return start(name, false); // this channel has no members
    showStatus("stopped", `${PROBLEMS[error.code] ?? error.message} (${error.code})`);
    addNote(explain(error));
  });
  for (const event of ["members", "join", "leave"]) channel.on(event, () => showMembers(channel.members, user));
  if (!presence) say("online", "For logged-in users, on channels that SIDECAST_PRESENCE_CHANNELS lists.");
  showState(relay);
}

onCaughtUp((n) => {
  if (n === 0) return;
  addNote(`${plural(n, "message")} caught up.`, true);
  done("cut", `${plural(n, "message")} caught up.`);
});

function publish(text) {
  sent = { text, at: performance.now() };
  return channel.publish(text);
}

startTour(() => ({ name: channel.name, relay, publish }));

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
  document.querySelector("#step-tab a").href = "?" + new URLSearchParams({ channel: name });
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
  publish(text).catch((error) => addNote(`Your message may not have been sent: ${error.message}.`));
  $("text").value = "";
});

const requested = new URLSearchParams(location.search).get("channel");
if (requested !== null) $("channel").value = requested;
subscribe($("channel").value);
