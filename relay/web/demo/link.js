// The page's connection, which the tour can cut. It also counts the messages that the page has caught up.

const PINGS = 10; // at most, for one count

let isCut = false;
let forgets = false; // the next subscribe has no position
let report = () => {};
const links = new Set();

/** Closes the connection, and those that are opened until restore. */
export function cut() {
  isCut = true;
  for (const link of links) link.close();
}

/** Lets the client connect again. If it forgets, it does so without its position in the channel. */
export function restore(forget) {
  isCut = false;
  forgets = forget;
  dispatchEvent(new Event("online")); // then the client connects at once
}

/** Sets the function that gets the number of messages when the page has caught up. */
export function onCaughtUp(listener) {
  report = listener;
}

export class Link extends WebSocket {
  #caught; // undefined unless it counts
  #pings = 0;
  #isQuiet; // no message has arrived since the last ping

  constructor(url, protocols) {
    super(url, protocols);
    links.add(this);
    this.addEventListener("close", () => links.delete(this));
    this.addEventListener("message", ({ data }) => {
      if (this.#caught !== undefined || data.includes('"recovered":true')) this.#count(JSON.parse(data));
    });
    if (isCut) this.close();
  }

  send(text) {
    const command = forgets && JSON.parse(text);
    if (command?.type === "subscribe") {
      for (const entry of command.channels) delete entry.after, delete entry.at;
      text = JSON.stringify(command);
      forgets = false;
    }
    super.send(text);
  }

  // The relay sends the missed messages after its answer. The answer to a ping shows that no more of them were on the
  // way, unless messages have arrived before it: then there can be more.
  #count({ type, recovered, cursor }) {
    if (type === "subscribed" && recovered && cursor) {
      this.#caught = this.#pings = 0;
      this.#ping();
    } else if (type === "message") {
      this.#caught++;
      this.#isQuiet = false;
    } else if (type === "pong") {
      if (!this.#isQuiet && this.#pings < PINGS) return this.#ping();
      report(this.#caught);
      this.#caught = undefined;
    }
  }

  #ping() {
    this.#pings++;
    this.#isQuiet = true;
    super.send('{"type":"ping"}');
  }
}
