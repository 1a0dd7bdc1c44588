// The list of messages. Each message is inserted as text, never as markup.

const LIMIT = 500; // messages that are shown
const LENGTH = 4000; // characters that are shown of a text message
const BYTES = 64; // bytes that are shown of a binary message

const utf8 = new TextDecoder("utf-8", { fatal: true });

const log = document.getElementById("log");
const list = document.getElementById("messages");
const count = document.getElementById("count");
const empty = document.getElementById("empty");

let queue = []; // entries that arrived since the last draw
let total = 0;
let drawTimer = 0;

export function addMessage(message) {
  total++;
  add({ text: isText(message) ? shorten(message.data) : hex(message.bytes()) });
}

/** Adds a line of the page's own. It is good news, or messages may be missing. */
export function addNote(text, good = false) {
  add({ text, note: good ? "note good" : "note" });
}

export function clear() {
  queue = [];
  total = 0;
  list.replaceChildren();
  draw();
}

// Messages may arrive faster than the browser can draw, or while the page is hidden. So they are drawn in batches, and
// the queue holds only as many as the list can show.
function add(entry) {
  entry.time = new Date();
  queue.push(entry);
  if (queue.length > LIMIT) queue.shift();
  if (!drawTimer) drawTimer = setTimeout(draw, document.hidden ? 1000 : 16);
}

function draw() {
  clearTimeout(drawTimer);
  drawTimer = 0;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  list.append(...queue.map(row));
  queue = [];
  while (list.childElementCount > LIMIT) list.firstElementChild.remove();
  empty.hidden = list.childElementCount > 0;
  count.textContent = total > LIMIT ? `${total.toLocaleString("en")} messages received. The newest ${LIMIT} are shown.` : "";
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function row({ time, text, note }) {
  const item = document.createElement("li");
  const stamp = document.createElement("time");
  stamp.dateTime = time.toISOString();
  stamp.textContent = time.toLocaleTimeString("en-GB");
  const content = document.createElement("span");
  content.textContent = text;
  item.append(stamp, content);
  if (note) item.className = note;
  return item;
}

function isText(message) {
  if (!message.data.includes("\ufffd")) return true;
  try {
    utf8.decode(message.bytes());
    return true;
  } catch {
    return false;
  }
}

function shorten(text) {
  if (text.length <= LENGTH) return text;
  return `${text.slice(0, LENGTH)}… (${text.length.toLocaleString("en")} characters in total)`;
}

function hex(bytes) {
  const shown = Array.from(bytes.subarray(0, BYTES), (byte) => byte.toString(16).padStart(2, "0"));
  const rest = bytes.length > BYTES ? " …" : "";
  return `Binary message, ${bytes.length.toLocaleString("en")} bytes: ${shown.join(" ")}${rest}`;
}
