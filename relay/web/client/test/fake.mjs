// A clock and a relay for tests of the client: no time passes, and each frame is visible.

/** Lets everything run that only waits for promises. */
export async function settle() {
  for (let i = 0; i < 20; i++) await null
}

/** Lets sidecast-extra.mjs be loaded: import() needs more than microtasks. */
export async function prepared() {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
  await settle()
}

/** Replaces the timers and Date.now. Call restore() at the end. */
export class Clock {
  now = 1_000_000
  #timers = new Map()
  #next = 1
  #real = { setTimeout, clearTimeout, now: Date.now, random: Math.random }

  constructor({ random = 0.5 } = {}) {
    globalThis.setTimeout = (f, ms = 0, ...args) => {
      this.#timers.set(this.#next, { at: this.now + (ms || 0), run: () => f(...args) })
      return this.#next++
    }
    globalThis.clearTimeout = (id) => void this.#timers.delete(id)
    Date.now = () => this.now
    if (random !== null) Math.random = () => random
  }

  /** How many timers are set. */
  get pending() {
    return this.#timers.size
  }

  /** Lets ms pass: timers run in the order of their times. */
  async advance(ms) {
    const end = this.now + ms
    for (;;) {
      await settle()
      let next
      for (const [id, { at, run }] of this.#timers) if (at < (next?.at ?? end + 1)) next = { id, at, run }
      if (!next) break
      this.now = Math.max(this.now, next.at)
      this.#timers.delete(next.id)
      next.run()
    }
    this.now = end
  }

  restore() {
    globalThis.setTimeout = this.#real.setTimeout
    globalThis.clearTimeout = this.#real.clearTimeout
    Date.now = this.#real.now
    Math.random = this.#real.random
  }
}

/** A class of sockets that take the place of WebSocket, and what has happened to them. */
export function fakeRelay() {
  class Socket {
    static opened = []
    sent = []
    closed = false

    constructor(url, protocols) {
      this.url = String(url)
      this.protocols = protocols
      Socket.opened.push(this)
    }

    send(text) {
      this.sent.push(JSON.parse(text))
    }

    close() {
      this.closed = true
    }

    /** Lets the relay send frames. */
    receive(...frames) {
      for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) })
    }

    welcome(more) {
      this.receive({ type: 'welcome', session: 's', heartbeat: 25, ...more })
    }

    /** Answers the last command of this type. */
    answer(type, frame) {
      const { ref, channel } = this.last(type)
      this.receive({ ref, ...(channel && { channel }), ...frame })
    }

    /** Answers all channels of the last subscribe. */
    subscribed(more) {
      const { ref, channels } = this.last('subscribe')
      for (const { channel } of channels) {
        this.receive({ type: 'subscribed', ref, channel, recovered: false, cursor: 'start', ...more })
      }
    }

    /** Lets the connection end. */
    end(code) {
      this.onclose({ code })
    }

    last(type) {
      return this.sent.findLast((frame) => frame.type === type)
    }

    /** Returns the commands since the last call. */
    take() {
      return this.sent.splice(0)
    }
  }
  return {
    Socket,
    get socket() {
      return Socket.opened.at(-1)
    },
    get attempts() {
      return Socket.opened.length
    },
  }
}
