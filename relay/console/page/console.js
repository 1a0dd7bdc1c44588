// The console of a relay: reads its events and shows them.

import {start} from "./boxes.js";
import {events, Refused, request, token} from "./feed.js";
import * as format from "./format.js";
import {Plots} from "./plots.js";
import {fill} from "./tables.js";

const $ = (id) => document.getElementById(id);
const plots = new Plots($("plots"), $("moment"), $("moment-text"));

let paused = false;
let newest = null; // sample
let first = null; // the totals of the first sample
let incidents = [];
let recorded = false; // whether the relay has a black box

function setState(id, state, text) {
  $(id).dataset.state = state;
  $(id).hidden = false;
  if ($(id + "-text").textContent !== text) $(id + "-text").textContent = text;
}

const unrecorded = "this relay keeps no records: unset SIDECAST_BLACKBOX_BYTES and restart it";

const kinds = new Map(Object.entries({
  closed: "connection closed", gap: "gap", evicted: "client evicted", rejected: "connection rejected", dropped: "message dropped",
  redis: "Redis connection ended", refused: "client refused", too_large: "message too large", up: "Redis connected", down: "Redis connection lost",
}));

const kindName = (kind) => kinds.get(kind) ?? kind;

function hello(data) {
  $("about").textContent = [location.host, data.version && "version " + data.version].filter(Boolean).join(" · ");
  recorded = data.records;
  incidents = [];
  fill($("settings-rows"), data.settings.filter((s) => s.set || s.value).map((s) => [s.name, s.value, s.set ? "environment" : "default"]),
    ["name", "name", "nowrap"], {header: true});
  showIncidents();
}

function showSample(sample) {
  newest = sample;
  setState("redis", sample.up ? "good" : "bad", sample.up ? "Redis connected" : "Redis not connected");
  setState("state", sample.draining ? "wait" : "good", sample.draining ? "Draining" : paused ? "Paused" : "Live");
  first ??= new Map((sample.causes ?? []).map((c) => [c.kind + c.cause, c.total]));
  if (paused) return;
  plots.add(sample);
  showTables();
}

// since returns how often a cause has occurred since the page was opened, or since the relay was restarted after that.
function since({kind, cause, total}) {
  const before = first.get(kind + cause) ?? 0;
  return total < before ? total : total - before;
}

function showTables() {
  if (!newest) return;
  fill($("busiest-rows"), (newest.busiest ?? []).map((c) => [
    c.channel, (c.surplus > c.messages / 10 ? "≤ " : "") + format.count(c.messages), format.bytes(c.bytes), format.count(c.subscribers),
  ]), ["name", "n", "n", "n"], {header: true, empty: recorded ? "no messages" : unrecorded});
  fill($("causes-rows"), (newest.causes ?? []).map((c) => [
    kindName(c.kind), c.cause, format.count(c.total), format.count(since(c)),
  ]), ["", "name", "n", "n"], {empty: "nothing yet"});
  if ($("values").open) fill($("values-rows"), plots.rows(), ["", "n", "n", "n"], {header: true});
}

function showIncidents() {
  fill($("incidents-rows"), incidents.map((i) => [
    format.time(Date.parse(i.at)), kindName(i.kind), [i.code, i.reason].filter(Boolean).join(" · "), i.channel ?? "", i.user ?? "", i.session ?? "",
  ]), ["nowrap", "", "", "name", "name", "name"], {empty: recorded ? "nothing yet" : unrecorded});
}

function addIncidents(list) {
  incidents = [...list.toReversed(), ...incidents].slice(0, 200);
  if (!paused) showIncidents();
}

const handlers = new Map(Object.entries({hello, sample: showSample, incidents: addIncidents}));

let connection = new AbortController(); // of the current stream
let wake = () => {}; // ends the wait before the next attempt

// follow reads the stream, again and again.
async function follow() {
  for (let wait = 500; ; wait = Math.min(2 * wait, 10_000)) {
    connection = new AbortController();
    try {
      for await (const {name, data} of events(await request("console/feed", {signal: connection.signal}))) {
        if (askedByFeed) showAccess(false);
        handlers.get(name)?.(JSON.parse(data));
        wait = 500;
      }
      setState("state", "wait", "Reconnecting");
    } catch (problem) {
      if (problem instanceof Refused && problem.needsToken) askForToken(problem.message);
      else setState("state", "bad", problem instanceof Refused ? problem.message : "Relay not reachable");
      $("redis").hidden = true;
    }
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, wait * (.75 + Math.random() / 2)); });
  }
}

let askedByFeed = false; // the panel is open because the feed needs a token

function askForToken(text) {
  setState("state", "bad", "No access");
  askedByFeed = true;
  showAccess(true, text);
}

// showAccess opens or closes the panel for the token.
function showAccess(open, text = "") {
  if (!open) askedByFeed = false;
  const wasOpen = !$("access").hidden;
  $("access").hidden = !open;
  $("forget").hidden = token.get() === "";
  $("show-access").setAttribute("aria-expanded", open);
  if (text && $("access-text").textContent !== text) $("access-text").textContent = text;
  if (open && !wasOpen && document.activeElement === document.body) $("token").focus();
}

$("show-access").addEventListener("click", () => {
  showAccess($("access").hidden);
  if (!$("access").hidden) $("token").focus();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set($("token").value.trim());
  $("token").value = "";
  showAccess(false);
  reconnect();
});
$("forget").addEventListener("click", () => { token.set(""); showAccess(false); reconnect(); });

function reconnect() {
  connection.abort();
  wake();
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  setState("state", "good", paused ? "Paused" : "Live");
  if (!paused) { showTables(); showIncidents(); }
});
$("values").addEventListener("toggle", showTables);
document.addEventListener("visibilitychange", () => plots.draw());

start(() => showAccess(true));
follow();
