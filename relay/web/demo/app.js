import { updateExamples } from "./lines.js";
import { addMessage, addNote, clear } from "./log.js";

const $ = (id) => document.getElementById(id);

// Close codes of the relay, explained to the reader. After a FINAL code the page does not reconnect. A REJECTED code
// ends the attempts only if it arrives before the connection was live. After all other codes the page reconnects.
const FINAL = {
  4401: "You must log in to use this relay",
  4403: "You have no access to this channel",
  4409: "The application closed this connection",
};
const REJECTED = {
  1008: "The relay rejected the request: it is not permitted, or there were too many",
  1009: "The message is too large",
};
const NORMAL = 1000;

// The relay rejects a client immediately after the handshake, because a page cannot see why a handshake failed.
// So the page reports a connection as live only after this many milliseconds, or at the first message.
const LIVE_DELAY = 250;

let channel = "";
let socket = null;
let live = false;
let lostAt = 0; // when the last live connection ended; 0 after the reader was notified
let attempts = 0;
let timer = 0; // of LIVE_DELAY, or of the countdown

function address() {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  // With gap=close, the relay closes a connection that may have missed messages. The page then notifies the reader.
  url.search = new URLSearchParams({ channel, gap: "close" });
  url.hash = "";
  return url;
}

function showStatus(state, text) {
  $("status").dataset.state = state;
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
  $("countdown").textContent = "";
  $("retry").hidden = state !== "waiting" && state !== "stopped";
  $("send").querySelector("button").disabled = state !== "live";
}

function connect() {
  disconnect();
  showStatus("connecting", attempts > 0 || lostAt ? "Reconnecting" : "Connecting");
  const current = new WebSocket(address());
  current.binaryType = "arraybuffer";
  // Events of an older connection are ignored.
  current.onopen = () => { if (current === socket) timer = setTimeout(becomeLive, LIVE_DELAY); };
  current.onmessage = (event) => {
    if (current !== socket) return;
    becomeLive();
    addMessage(event.data);
  };
  current.onclose = (event) => { if (current === socket) handleClose(event.code); };
  socket = current;
}

function disconnect() {
  clearTimeout(timer);
  const old = socket;
  socket = null;
  live = false;
  old?.close(NORMAL);
}

function becomeLive() {
  if (live) return;
  clearTimeout(timer);
  live = true;
  attempts = 0;
  showStatus("live", "Connected");
  if (lostAt) {
    const seconds = Math.max(1, Math.round((Date.now() - lostAt) / 1000));
    addNote(`Reconnected after ${seconds}\u00a0s. You may have missed messages.`);
    lostAt = 0;
  }
}

function handleClose(code) {
  const wasLive = live;
  disconnect();
  if (wasLive) lostAt = Date.now();
  if (code in REJECTED && wasLive) addNote(`${REJECTED[code]}. Your last message may not have been sent.`);
  if (code in FINAL || (code in REJECTED && !wasLive)) {
    showStatus("stopped", `${FINAL[code] ?? REJECTED[code]} (${code})`);
    return;
  }
  const maxDelay = Math.min(30_000, 500 * 2 ** attempts);
  attempts = Math.min(attempts + 1, 16);
  retryAt(Date.now() + maxDelay * (0.5 + Math.random() / 2));
}

function retryAt(time) {
  const left = time - Date.now();
  if (left <= 0) return connect();
  showStatus("waiting", "Disconnected, retrying");
  $("countdown").textContent = ` in ${Math.ceil(left / 1000)}\u00a0s`;
  timer = setTimeout(retryAt, Math.min(left, left % 1000 || 1000), time);
}

const waiting = () => $("status").dataset.state === "waiting";
addEventListener("online", () => { if (waiting()) connect(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting()) connect(); });
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
$("retry").addEventListener("click", () => { attempts = 0; connect(); });

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
  channel = name;
  document.title = `${name} · Sidecast`;
  clear();
  updateExamples(name, address());
  attempts = lostAt = 0;
  connect();
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
  if (!live || text === "") return;
  socket.send(text);
  $("text").value = "";
});

const requested = new URLSearchParams(location.search).get("channel");
if (requested !== null) $("channel").value = requested;
subscribe($("channel").value);
