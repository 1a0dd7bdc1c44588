// A tab's own connection, for channels that it cannot join on the shared one yet.

const ENTRIES = 20 // of a subscribe, so that it is a small frame

export class OwnConnection {
  #socket
  #closed = false
  #welcomed = false
  #channels = new Map() // name -> { entry, leaving }
  #waiting = [] // entries to subscribe to

  /**
   * protocols returns a promise of the subprotocols. receive is called for frames, and fail with the code if the
   * connection ends.
   */
  constructor(Socket, url, protocols, receive, fail) {
    this.#open(Socket, url, protocols, receive, fail)
  }

  async #open(Socket, url, protocols, receive, fail) {
    try {
      const offered = await protocols()
      if (this.#closed) return
      const socket = (this.#socket = new Socket(url, offered))
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data)
        if (this.#closed || this.#handle(frame)) return
        receive(frame)
      }
      socket.onclose = ({ code }) => this.#closed || fail(code)
      socket.onerror = () => {} // onclose follows
    } catch (error) {
      console.error(error)
      if (!this.#closed) fail(1013)
    }
  }

  /** Returns true for frames that concern only this connection. */
  #handle({ type, channel, ref, code }) {
    if (type === 'welcome') {
      this.#welcomed = true
      queueMicrotask(() => this.#subscribe())
    }
    if (!channel) return false
    const known = this.#channels.get(channel)
    if (type === 'subscribed' && !ref && !known?.leaving) {
      // The relay subscribes users to their own channels when they connect. They are left: the tab has not asked for
      // this one, or its subscribe has to be repeated, because it asks for older messages.
      if (known) this.#waiting.push(known.entry)
      this.#leave(channel)
      return true
    }
    if (type === 'unsubscribed' || code === 'not_subscribed') {
      this.#channels.delete(channel)
      this.#subscribe()
    }
    return !known || known.leaving
  }

  add(entry) {
    this.#waiting.push(entry)
    queueMicrotask(() => this.#subscribe())
  }

  #subscribe() {
    if (!this.#welcomed || this.#closed) return
    const ready = this.#waiting.filter(({ channel }) => !this.#channels.has(channel))
    this.#waiting = this.#waiting.filter((entry) => !ready.includes(entry))
    for (const entry of ready) this.#channels.set(entry.channel, { entry })
    while (ready.length) this.#send({ type: 'subscribe', ref: 'own', channels: ready.splice(0, ENTRIES) })
  }

  remove(channel) {
    this.#waiting = this.#waiting.filter((entry) => entry.channel !== channel)
    if (this.#channels.has(channel) && !this.#channels.get(channel).leaving) this.#leave(channel)
  }

  #leave(channel) {
    this.#channels.set(channel, { leaving: true })
    this.#send({ type: 'unsubscribe', channel })
  }

  #send(command) {
    this.#socket.send(JSON.stringify(command))
  }

  close() {
    this.#closed = true
    this.#socket?.close()
  }
}
