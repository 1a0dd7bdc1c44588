// The tab that has the connection: it subscribes for all tabs, and numbers and repeats what the relay sends.

import { REPORTS, Roster } from './share-members.mjs'

// The states of a channel.
const OFF = 0
const ASKED = 1 // the relay has not answered yet
const ON = 2
const LEAVING = 3 // the relay has not confirmed the end yet

export class Leader {
  #id
  #real
  #log
  #post
  #fail
  #welcome // the frame
  #number = 0 // of the last frame for all tabs
  #ref = 0
  #tabs = new Set() // ids
  #channels = new Map() // by name
  #commands = new Map() // those that are not about subscriptions, by ref: { tab, ref }

  /** post sends a message to the tabs, this one included. fail ends the connection with a code. */
  constructor(id, real, log, post, fail) {
    this.#id = id
    this.#real = real
    this.#log = log
    this.#post = post
    this.#fail = fail
  }

  #send(command) {
    this.#real.send(JSON.stringify(command))
  }

  #answer(tab, frame) {
    this.#post({ kind: 'answer', to: tab, frame })
  }

  #broadcast({ type, channel, cursor }, more) {
    const number = ++this.#number
    const item = { id: `${this.#id} ${number}`, leader: this.#id, type, channel, cursor, ...more }
    this.#log.add(item)
    this.#post({ kind: 'frame', number, item })
  }

  // ---- Tabs

  /** Returns false if the tab is known. */
  join(tab) {
    const known = this.#tabs.has(tab)
    this.#tabs.add(tab)
    if (this.#welcome) this.#greet(tab)
    return !known
  }

  leave(tab) {
    this.#tabs.delete(tab)
    for (const channel of this.#channels.values()) this.#leave(tab, channel)
  }

  #greet(tab) {
    this.#post({ kind: 'welcome', to: tab, number: this.#number, frame: this.#welcome })
  }

  command(tab, { quiet, ...command }) {
    if (!this.#tabs.has(tab)) return
    const { type, ref, channel } = command
    if (type === 'subscribe') {
      this.#subscribe(tab, command)
    } else if (type === 'unsubscribe') {
      if (this.#channels.has(channel)) this.#leave(tab, this.#channels.get(channel))
      if (!quiet) this.#answer(tab, { type: 'unsubscribed', channel, ref })
    } else {
      this.#commands.set(++this.#ref, { tab, ref })
      this.#send({ ...command, ref: this.#ref })
    }
  }

  // ---- Channels

  #subscribe(tab, { ref, channels }) {
    const asked = []
    for (const entry of channels) {
      const name = entry.channel
      if (!this.#channels.has(name)) this.#channels.set(name, { name, status: OFF, tabs: new Set(), waiting: [] })
      const channel = this.#channels.get(name)
      if (channel.status === ON) {
        this.#admit(channel, { tab, ref, entry })
      } else {
        channel.waiting.push({ tab, ref, entry })
        if (channel.status === OFF) asked.push(channel)
      }
    }
    if (asked.length) this.#ask(asked)
  }

  /** Asks the relay for what the first waiting tab of each channel has asked for. */
  #ask(channels) {
    const ref = ++this.#ref
    for (const channel of channels) {
      Object.assign(channel, { status: ASKED, ref, request: channel.waiting.shift() })
    }
    const entries = channels.map(({ request }) => ({ ...request.entry, gap: undefined }))
    this.#send({ type: 'subscribe', ref, channels: entries })
  }

  /** Lets a tab join a channel that is subscribed to. */
  #admit(channel, { tab, ref, entry }) {
    channel.tabs.add(tab)
    const { name, cursor, at, durable, roster } = channel
    const { after, since, last, gap } = entry
    const items = entry.presence && !roster ? undefined
      : after ? this.#log.after(name, after, gap)
      : since || last ? undefined : []
    const answer = { channel: name, ref, durable, ...roster?.fields }
    if (!items) return this.#answer(tab, { ...answer, type: 'elsewhere', cursor })
    const missed = items.filter(({ text }) => text)
    const position = missed.length ? { cursor: after } : { cursor, at }
    this.#answer(tab, { ...answer, type: 'subscribed', recovered: Boolean(after), ...position })
    for (const item of missed) this.#post({ kind: 'missed', to: tab, channel: name, item })
  }

  #leave(tab, channel) {
    channel.tabs.delete(tab)
    channel.waiting = channel.waiting.filter((request) => request.tab !== tab)
    if (tab && channel.request?.tab === tab) channel.request.tab = undefined
    const wanted = channel.tabs.size || channel.waiting.length || channel.request?.tab
    if (!wanted && (channel.status === ASKED || channel.status === ON)) this.#unsubscribe(channel)
  }

  #unsubscribe(channel) {
    channel.status = LEAVING
    channel.request = undefined
    this.#send({ type: 'unsubscribe', channel: channel.name })
  }

  /** The relay has subscribed the user to this channel when it accepted the connection: leave it before the request. */
  #repeat(channel) {
    const { request } = channel
    request.repeated = true
    if (request.tab) channel.waiting.unshift(request)
    this.#unsubscribe(channel)
  }

  /** The channel is not subscribed to any more. */
  #end(channel) {
    channel.status = OFF
    channel.request = undefined
    if (channel.waiting.length) this.#ask([channel])
    else if (channel.status === OFF) this.#channels.delete(channel.name)
  }

  #refuse(channel, frame) {
    const { tab, ref, entry } = channel.request
    // Tabs have the same rights, so one answer counts for all.
    const isSame = ({ sig, presence }) => sig === entry.sig && presence === entry.presence
    const same = (request) => frame.code !== 'bad_request' && isSame(request.entry)
    const refused = [{ tab, ref }, ...channel.waiting.filter(same)]
    channel.waiting = channel.waiting.filter((request) => !same(request))
    this.#end(channel)
    for (const { tab, ref } of refused) {
      // A tab can have more channels with a connection of its own.
      const type = frame.code === 'too_many_channels' ? 'elsewhere' : 'error'
      if (tab) this.#answer(tab, { ...frame, type, channel: channel.name, ref })
    }
  }

  // ---- Frames

  receive(text) {
    const frame = JSON.parse(text)
    const channel = this.#channels.get(frame.channel)
    if (REPORTS.includes(frame.type)) this.#report(frame, channel, text)
    else if (this.#handlers[frame.type]) this.#handlers[frame.type](frame, channel, text)
    else this.#broadcast(frame, { text })
  }

  #report(frame, channel, text) {
    if (channel?.status !== ON) return
    channel.roster?.apply(frame)
    this.#broadcast(frame, { text })
  }

  #handlers = {
    welcome: (frame) => {
      this.#welcome = frame
      for (const tab of this.#tabs) this.#greet(tab)
    },

    subscribed: (frame, channel) => {
      const name = frame.channel
      if (!channel) {
        // The user's own, or one to which the application has subscribed the user: no tab has asked for it yet.
        this.#channels.set(name, (channel = { name, tabs: new Set(), waiting: [] }))
        this.#unsubscribe(channel)
        for (const tab of this.#tabs) this.#answer(tab, { type: 'offer', channel: name })
      }
      if (channel.status !== ASKED) return
      if (frame.ref !== channel.ref) return this.#repeat(channel)
      const { cursor, durable, recovered } = frame
      const { request, waiting } = channel
      const { tab, ref, entry: { after, since, presence } } = request
      // The answer repeats that of the relay's own subscribe if it says that nothing is missing, although the request
      // has no position.
      if (recovered && !after && !since && !request.repeated) return this.#repeat(channel)
      const roster = presence && new Roster()
      roster?.apply(frame)
      Object.assign(channel, { status: ON, cursor, at: undefined, durable, roster, request: undefined, waiting: [] })
      this.#broadcast(frame, { after, durable, cursor: undefined })
      // For other tabs that were at the same position.
      if (after && !recovered) {
        const gap = { ...frame, type: 'gap', reason: 'unrecovered', ref: undefined }
        this.#broadcast(gap, { text: JSON.stringify(gap) })
      } else if (cursor !== after) {
        this.#broadcast({ ...frame, type: 'position' })
      }
      if (tab) {
        channel.tabs.add(tab)
        this.#answer(tab, { ...frame, ref })
      }
      for (const request of waiting) this.#admit(channel, request)
      this.#leave(undefined, channel) // if the tabs have left meanwhile
    },

    unsubscribed: (frame, channel) => {
      if (!channel) return
      const tabs = channel.status === LEAVING ? [] : [...channel.tabs]
      channel.tabs.clear()
      this.#end(channel)
      for (const tab of tabs) this.#answer(tab, frame) // last, because a tab may ask for the channel again
    },

    message: (frame, channel, text) => {
      if (channel?.status !== ON) return
      if (frame.cursor) Object.assign(channel, { cursor: frame.cursor, at: undefined })
      this.#broadcast(frame, { text })
    },

    gap: (frame, channel, text) => {
      if (frame.channel) return this.#handlers.message(frame, channel, text)
      this.#welcome.offline = undefined
      this.#broadcast(frame, { text })
    },

    offline: (frame, _, text) => {
      this.#welcome.offline = true
      this.#broadcast(frame, { text })
    },

    heartbeat: (frame) => {
      const { at } = frame
      if (at) for (const channel of this.#channels.values()) if (channel.status === ON) channel.at = at
      this.#broadcast(frame, { at, text: JSON.stringify({ type: 'heartbeat' }) })
    },

    ok: (frame) => {
      const { tab, ref } = this.#commands.get(frame.ref) || {}
      this.#commands.delete(frame.ref)
      if (tab) this.#answer(tab, { ...frame, ref })
    },

    pong: (frame) => this.#handlers.ok(frame),

    error: (frame, channel) => {
      const channels = [...this.#channels.values()]
      if (frame.code === 'rate_limited') {
        // The relay does not answer each command that it refuses for this reason.
        if (channels.some(({ status }) => status === ASKED || status === LEAVING)) return this.#fail(1013)
        for (const ref of this.#commands.keys()) this.#handlers.ok({ ...frame, ref })
      } else if (this.#commands.has(frame.ref)) {
        this.#handlers.ok(frame)
      } else if (channel?.status === LEAVING) {
        if (frame.code === 'not_subscribed') this.#handlers.unsubscribed(frame, channel)
      } else {
        for (const each of channels) {
          if (each.status !== ASKED || each.ref !== frame.ref || (frame.channel && each !== channel)) continue
          if (frame.code === 'bad_request' && frame.channel && !each.request.repeated) this.#repeat(each)
          else this.#refuse(each, frame)
        }
      }
    },
  }
}
