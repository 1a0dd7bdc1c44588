// The list of messages. Whatever arrives is text and stays text.

const LIMIT = 500; // messages shown
const LENGTH = 4000; // letters shown of each
const BYTES = 64; // shown of each that is no text

const log = document.getElementById("log");
const list = document.getElementById("messages");
const count = document.getElementById("count");
const empty = document.getElementById("empty");

let queue = []; // arrived since the last drawing
let total = 0;
let drawing = 0;

export function addMessage(data) {
  total++;
  add({ text: typeof data === "string" ? shorten(data) : hex(data) });
}

export function addNote(text) {
  add({ text, note: true });
}

export function clear() {
  queue = [];
  total = 0;
  list.replaceChildren();
  draw();
}

// Messages may come faster than a screen can show them, or while nobody sees it: what would scroll away before it is
// drawn is not kept.
function add(entry) {
  entry.time = new Date();
  queue.push(entry);
  if (queue.length > LIMIT) queue.shift();
  if (!drawing) drawing = setTimeout(draw, document.hidden ? 1000 : 16);
}

function draw() {
  clearTimeout(drawing);
  drawing = 0;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  list.append(...queue.map(row));
  queue = [];
  while (list.childElementCount > LIMIT) list.firstElementChild.remove();
  empty.hidden = list.childElementCount > 0;
  count.textContent = total > LIMIT ? `${total.toLocaleString("en")} messages so far, the newest are shown.` : "";
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
  if (note) item.className = "note";
  return item;
}

function shorten(text) {
  if (text.length <= LENGTH) return text;
  return `${text.slice(0, LENGTH)}… (${text.length.toLocaleString("en")} letters in all)`;
}

function hex(buffer) {
  const bytes = Array.from(new Uint8Array(buffer, 0, Math.min(BYTES, buffer.byteLength)), (b) => b.toString(16).padStart(2, "0"));
  const rest = buffer.byteLength > BYTES ? " …" : "";
  return `${buffer.byteLength.toLocaleString("en")} bytes that are not text: ${bytes.join(" ")}${rest}`;
}
