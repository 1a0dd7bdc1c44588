// A browser for tests of tabs that share a connection: Web Locks, BroadcastChannels and a relay, without time. Whatever
// happens between processes waits in a queue, and the test decides which of the queues moves.

import { settle } from './fake.mjs'

/** Random numbers that depend on the seed only: mulberry32. */
export function randomFrom(seed) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  random.below = (n) => Math.floor(random() * n)
  random.of = (list) => list[random.below(list.length)]
  return random
}

/** The queues of one test. */
export class Queues {
  #queues = new Map() // owner -> functions
  #held = new Set() // owners whose queues do not move

  push(owner, run) {
    if (!this.#queues.has(owner)) this.#queues.set(owner, [])
    this.#queues.get(owner).push(run)
  }

  drop(owner) {
    this.#queues.delete(owner)
  }

  /** Holds one more queue, or none any more. */
  hold(random) {
    if (random() < 0.5) this.#held.clear()
    else if (this.#queues.size) this.#held.add(random.of([...this.#queues.keys()]))
  }

  /** Moves one queue by one step. Returns false if none can move. */
  async step(random) {
    const ready = [...this.#queues.keys()].filter((owner) => this.#queues.get(owner).length && !this.#held.has(owner))
    if (!ready.length) return false
    this.#queues.get(random ? random.of(ready) : ready[0]).shift()()
    await settle()
    return true
  }

  /** Moves the queues until they are empty. */
  async run(random) {
    this.#held.clear()
    await settle()
    for (let steps = 0; await this.step(random); steps++) if (steps > 100_000) throw new Error('the queues never end')
  }
}

/** navigator.locks */
class Locks {
  #held = new Map() // name -> request
  #waiting = new Map() // name -> requests

  constructor(queues) {
    this.queues = queues
  }

  request(name, options, callback) {
    return new Promise((resolve, reject) => {
      const abort = () => reject(new DOMException('aborted', 'AbortError'))
      const request = { name, callback, resolve, abort }
      if (!this.#waiting.has(name)) this.#waiting.set(name, [])
      const waiting = this.#waiting.get(name)
      if (options.steal) {
        this.#held.get(name)?.abort()
        this.#grant(request)
        return
      }
      waiting.push(request)
      options.signal?.addEventListener('abort', () => {
        if (!waiting.includes(request)) return
        waiting.splice(waiting.indexOf(request), 1)
        abort()
      })
      this.#next(name)
    })
  }

  #next(name) {
    if (!this.#held.has(name) && this.#waiting.get(name).length) this.#grant(this.#waiting.get(name).shift())
  }

  #grant(request) {
    const { name } = request
    this.#held.set(name, request)
    this.queues.push(request, async () => {
      request.resolve(await request.callback())
      if (this.#held.get(name) === request) this.#held.delete(name)
      this.#next(name)
    })
  }
}

/** Installs Web Locks and BroadcastChannels. Returns a function that removes them. */
export function installBrowser(queues) {
  const channels = new Set()
  class BroadcastChannel {
    constructor(name) {
      this.name = name
      channels.add(this)
    }

    postMessage(message) {
      for (const channel of channels) {
        if (channel === this || channel.name !== this.name) continue
        const data = structuredClone(message)
        queues.push(channel, () => channels.has(channel) && channel.onmessage({ data }))
      }
    }

    close() {
      channels.delete(this)
      queues.drop(this)
    }
  }
  const names = ['navigator', 'BroadcastChannel']
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)])
  Object.defineProperty(globalThis, 'navigator', { value: { locks: new Locks(queues) }, configurable: true })
  Object.defineProperty(globalThis, 'BroadcastChannel', { value: BroadcastChannel, configurable: true })
  return () => {
    for (const [name, property] of before) {
      if (property) Object.defineProperty(globalThis, name, property)
      else delete globalThis[name]
    }
  }
}

/**
 * A relay with live channels. The messages of a channel are the numbers from 1. Cursors of messages are the same for
 * all clients, those of other positions are not.
 */
export class ModelRelay {
  sockets = []
  history = 50 // messages that can be sent again
  user = 'u'
  own // the channel to which it subscribes users
  refuse = () => undefined // returns the code of an error for (socket, channel, entry)
  #channels = new Map() // name -> { newest, oldest }: what can be sent again
  #positions = 0
  #heartbeats = [] // the newest message of each channel at the time of each

  constructor(queues) {
    this.queues = queues
    const model = this
    this.Socket = class {
      channels = new Map() // name -> presence
      sent = []

      constructor(url, protocols) {
        this.protocols = protocols
        model.sockets.push(this)
        model.push(this, { type: 'welcome', session: 's', heartbeat: 25, user: model.user })
        if (model.own) model.command(this, { type: 'subscribe', channels: [{ channel: model.own }] })
      }

      send(text) {
        if (!this.isOpen) throw new DOMException('the socket is still connecting', 'InvalidStateError')
        const command = JSON.parse(text)
        this.sent.push(command)
        model.command(this, command)
      }

      close() {
        model.sockets = model.sockets.filter((socket) => socket !== this)
        queues.drop(this)
      }

      /** The relay ends the connection after the frames that are queued. */
      end(code) {
        this.channels.clear()
        queues.push(this, () => {
          this.close()
          this.onclose({ code })
        })
      }
    }
  }

  push(socket, frame) {
    if (!this.sockets.includes(socket)) return
    this.queues.push(socket, () => {
      socket.isOpen = true // before its first frame
      socket.onmessage({ data: JSON.stringify(frame) })
    })
  }

  channel(name) {
    if (!this.#channels.has(name)) this.#channels.set(name, { newest: 0, oldest: 1, members: new Set() })
    return this.#channels.get(name)
  }

  #position(n) {
    return `p${n}.${++this.#positions}`
  }

  command(socket, { type, ref, channel, channels, data }) {
    if (type === 'subscribe') for (const entry of channels) this.#subscribe(socket, ref, entry)
    if (type === 'ping') this.push(socket, { type: 'pong', ref })
    if (type === 'publish') {
      this.publish(channel, data)
      this.push(socket, { type: 'ok', ref })
    }
    if (type === 'unsubscribe') {
      const ended = socket.channels.delete(channel)
      this.push(socket, { ...(ended ? { type: 'unsubscribed' } : { type: 'error', code: 'not_subscribed' }), channel, ref })
    }
  }

  #subscribe(socket, ref, entry) {
    const { channel, after, at, last, presence } = entry
    const { newest, oldest } = this.channel(channel)
    const code = this.refuse(socket, channel, entry)
    if (code) return this.push(socket, { type: 'error', code, channel, ref })
    if (socket.channels.has(channel)) return this.push(socket, { type: 'error', code: 'bad_request', channel, ref })
    socket.channels.set(channel, presence)
    let from = after ? Number(after.match(/\d+/)[0]) : last ? Math.max(newest - last, oldest - 1) : newest
    if (at) from = Math.max(from, this.#heartbeats[at.slice(1)].get(channel) || 0)
    const recovered = Boolean(after) && from + 1 >= oldest
    if (from + 1 < oldest) from = newest
    const more = presence ? this.members(channel) : {}
    this.push(socket, { type: 'subscribed', channel, ref, recovered, cursor: recovered ? after : this.#position(from), ...more })
    for (let n = from + 1; n <= newest; n++) this.#deliver(socket, channel, n)
  }

  #deliver(socket, channel, n) {
    this.push(socket, { type: 'message', channel, cursor: `m${n}`, data: String(n) })
  }

  publish(name) {
    const channel = this.channel(name)
    channel.newest++
    channel.oldest = Math.max(channel.oldest, channel.newest - this.history + 1)
    for (const socket of this.sockets) if (socket.channels.has(name)) this.#deliver(socket, name, channel.newest)
  }

  members(name) {
    const { members } = this.channel(name)
    return { members: [...members].map((user) => ({ user, info: user + '!' })), count: members.size }
  }

  #report(name, frame) {
    const count = this.channel(name).members.size
    for (const socket of this.sockets) if (socket.channels.get(name)) this.push(socket, { channel: name, count, ...frame })
  }

  /** A user joins a channel, or leaves it. */
  move(user, name) {
    const { members } = this.channel(name)
    const type = members.delete(user) ? 'leave' : 'join'
    if (type === 'join') members.add(user)
    this.#report(name, type === 'join' ? { type, user, info: user + '!' } : { type, user })
  }

  /** Reports all members, as after an outage of Redis. */
  reportAll(name) {
    this.#report(name, { type: 'members', ...this.members(name) })
  }

  /** The application subscribes the user to a channel, or ends a subscription. */
  control(type, name, reason = 'control') {
    for (const socket of this.sockets) {
      if (type === 'subscribe' && !socket.channels.has(name)) this.#subscribe(socket, undefined, { channel: name })
      if (type === 'unsubscribe' && socket.channels.delete(name)) this.push(socket, { type: 'unsubscribed', channel: name, reason })
    }
  }

  /** Tells all clients the position that they have reached. */
  heartbeat() {
    const at = `h${this.#heartbeats.length}`
    this.#heartbeats.push(new Map([...this.#channels].map(([name, { newest }]) => [name, newest])))
    for (const socket of this.sockets) this.push(socket, { type: 'heartbeat', at })
  }

  /** Redis is restarted: a message is lost on every channel. */
  breakLink() {
    for (const channel of this.#channels.values()) channel.oldest = ++channel.newest + 1
    for (const socket of this.sockets) this.push(socket, { type: 'gap', reason: 'redis' })
  }
}
