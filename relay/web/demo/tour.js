// The steps of the tour. A step is done when it has happened, however the reader made it happen.

import { connect } from "./sidecast.mjs";
import { cut, restore } from "./link.js";

const MISSED = 3; // messages that are published while the link is cut
const CUT_TIME = 1500; // ms at least, so that the reader sees it
const PATIENCE = 10_000; // ms until publishing counts as failed
const NAMES = 20; // that are shown of the users who are online

// What to do if the relay refuses a channel, by the code of the error.
const ADVICE = {
  bad_channel: "Choose another name: those that begin with sidecast: or __ belong to the relay.",
  forbidden: "SIDECAST_CHANNELS and SIDECAST_PUBLIC_CHANNELS have to match the name, or a login or a signature has to grant it.",
  unauthorized: "The user has to log in: see relay/auth in the documentation.",
};

/** Explains the error of a channel. */
export const explain = ({ code, message }) => `The relay answers “${message}” (${code}). ${ADVICE[code] ?? ""}`.trim();

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** Marks a step as done, and says what happened. */
export function done(step, text) {
  const item = document.getElementById("step-" + step);
  if (!("done" in item.dataset)) {
    item.dataset.done = "";
    const mark = document.createElement("span");
    mark.className = "hidden";
    mark.textContent = " (done)";
    item.querySelector("h3").append(mark);
  }
  say(step, text);
}

/** Does the same, unless the step is done already. */
export function doneOnce(step, text) {
  if (!("done" in document.getElementById("step-" + step).dataset)) done(step, text);
}

export function say(step, text) {
  const result = document.querySelector(`#step-${step} .result`);
  if (result.textContent !== text) result.textContent = text;
}

/** Shows the users who are online. */
export function showMembers(members, me) {
  const names = [...members.keys()].map((name) => (name === me ? `${name} (you)` : name));
  const more = members.count > NAMES ? ", …" : "";
  done("online", `${plural(members.count, "user")} online: ${names.slice(0, NAMES).join(", ")}${more}`);
  const other = [...members.keys()].find((name) => name !== me);
  if (other !== undefined) done("tab", `${other} is here, too.`);
}

/** Makes the buttons of the steps work on the channel that the page shows. */
export function startTour(current) {
  const button = (step, act) => {
    const element = document.querySelector(`#step-${step} button`);
    element.addEventListener("click", async () => {
      if (element.ariaDisabled === "true") return;
      element.ariaDisabled = "true"; // not disabled, which would move the focus
      await act().catch((error) => say(step, `This did not work: ${error.message}.`));
      element.ariaDisabled = "false";
    });
  };
  button("publish", () => current().publish("hello"));
  button("cut", () => interrupt("cut", current().name, false));
  button("gap", () => interrupt("gap", current().name, true));
  button("refused", () => refuse(current().relay));
  document.querySelector("#step-tab a").addEventListener("click", () => doneOnce("tab", "Publish in one tab, and look at the other."));
}

let interrupts = false;

/** Cuts the link while another client publishes. */
async function interrupt(step, name, forget) {
  if (interrupts) return say(step, "The link is cut already.");
  interrupts = true;
  say(step, "The link is cut.");
  cut();
  try {
    await Promise.all([publishMissed(name), new Promise((resolve) => setTimeout(resolve, CUT_TIME))]);
    say(step, "Reconnecting.");
  } finally {
    interrupts = false;
    restore(forget);
  }
}

async function publishMissed(name) {
  const other = connect("ws");
  const late = setTimeout(() => other.close(), PATIENCE);
  try {
    const channel = other.channel(name);
    channel.on("error", () => other.close()); // reported for the page's own channel
    for (let i = 1; i <= MISSED; i++) await channel.publish(`sent while the link was cut (${i} of ${MISSED})`);
  } finally {
    clearTimeout(late);
    other.close();
  }
}

/** Subscribes to a channel that no client can have. */
function refuse(relay) {
  return new Promise((resolve) => {
    const channel = relay.channel("sidecast:mark");
    const late = setTimeout(() => {
      say("refused", "The relay does not answer.");
      end();
    }, PATIENCE);
    channel.on("error", (error) => {
      done("refused", explain(error));
      end();
    });
    function end() {
      clearTimeout(late);
      channel.close();
      resolve();
    }
  });
}
