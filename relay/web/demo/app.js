import { lines } from "./lines.js";
import { addMessage, addNote, clear } from "./log.js";

const $ = (id) => document.getElementById(id);

// What a close by the server means for a person. Those that are not listed pass: the page connects again.
const FINAL = {
  4401: "This relay wants a login first",
  4403: "This channel is not open to you",
  4409: "The application has disconnected you",
};
const REFUSED = {
  1008: "The relay did not allow that, or it was too fast",
  1009: "That message is too large",
};
const NORMAL = 1000;

// A refusal comes right after the handshake, because browsers tell pages nothing of one that fails before.
const SETTLE = 250;

let channel = "";
let socket = null;
let live = false;
let lost = 0; // when the last live connection ended, until the next one is told of
let attempts = 0;
let timer = 0; // of settling, or of the countdown

function address() {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  // The relay closes a connection that may have missed something, and the page says so.
  url.search = new URLSearchParams({ channel, gap: "close" });
  url.hash = "";
  return url;
}

function show(state, text) {
  $("status").dataset.state = state;
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
  $("countdown").textContent = "";
  $("retry").hidden = state !== "waiting" && state !== "stopped";
  $("send").querySelector("button").disabled = state !== "live";
}

function connect() {
  disconnect();
  show("connecting", attempts > 0 || lost ? "Reconnecting" : "Connecting");
  const mine = new WebSocket(address());
  mine.binaryType = "arraybuffer";
  // What an older connection still says is not listened to.
  mine.onopen = () => { if (mine === socket) timer = setTimeout(settle, SETTLE); };
  mine.onmessage = (event) => {
    if (mine !== socket) return;
    settle();
    addMessage(event.data);
  };
  mine.onclose = (event) => { if (mine === socket) closed(event.code); };
  socket = mine;
}

function disconnect() {
  clearTimeout(timer);
  const old = socket;
  socket = null;
  live = false;
  old?.close(NORMAL);
}

function settle() {
  if (live) return;
  clearTimeout(timer);
  live = true;
  attempts = 0;
  show("live", "Live");
  if (lost) {
    const seconds = Math.max(1, Math.round((Date.now() - lost) / 1000));
    addNote(`Connected again after ${seconds}\u00a0s: something may have been missed.`);
    lost = 0;
  }
}

function closed(code) {
  const was = live;
  disconnect();
  if (was) lost = Date.now();
  if (code in REFUSED && was) addNote(`${REFUSED[code]}. It may not have been sent.`);
  if (code in FINAL || (code in REFUSED && !was)) {
    show("stopped", `${FINAL[code] ?? REFUSED[code]} (${code})`);
    return;
  }
  const most = Math.min(30_000, 500 * 2 ** attempts);
  attempts = Math.min(attempts + 1, 16);
  wait(Date.now() + most * (0.5 + Math.random() / 2));
}

function wait(until) {
  const left = until - Date.now();
  if (left <= 0) return connect();
  show("waiting", "Offline, retrying");
  $("countdown").textContent = ` in ${Math.ceil(left / 1000)}\u00a0s`;
  timer = setTimeout(wait, Math.min(left, left % 1000 || 1000), until);
}

const waiting = () => $("status").dataset.state === "waiting";
addEventListener("online", () => { if (waiting()) connect(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting()) connect(); });
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
$("retry").addEventListener("click", () => { attempts = 0; connect(); });

// The rules that every relay holds names to.
function faultOf(name) {
  if (name === "") return "A channel needs a name, like chat.";
  if (new TextEncoder().encode(name).length > 200) return "A name has 200 bytes at most.";
  if (/[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069\uFEFF]/u.test(name)) return "This name has letters that cannot be seen.";
  return "";
}

function listen(name) {
  const fault = faultOf(name);
  $("fault").textContent = fault;
  $("channel").toggleAttribute("aria-invalid", fault !== "");
  if (fault) return false;
  channel = name;
  document.title = `${name} · Sidecast`;
  clear();
  lines(name, address());
  attempts = lost = 0;
  connect();
  return true;
}

$("listen").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("channel").value;
  if (listen(name)) history.replaceState(null, "", "?" + new URLSearchParams({ channel: name }));
});

$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!live || text === "") return;
  socket.send(text);
  $("text").value = "";
});

const asked = new URLSearchParams(location.search).get("channel");
if (asked !== null) $("channel").value = asked;
listen($("channel").value);
