// The transport of tabs that share one connection. sidecast.mjs loads it if it is connected with the option share.
//
// Each tab keeps its own channels, with its own position on each, and talks to a SharedSocket as if that were its
// WebSocket. One of them holds a lock and is the leader: it has the connection, subscribes for all tabs, and repeats
// each frame for them, numbered, over a BroadcastChannel. The rules:
//
//   - A tab joins a channel that the leader has at the leader's position, or at the tab's own position if it is among
//     the leader's recent frames: these are sent to it first. If the tab has received a little more than the leader,
//     it skips what it has had.
//   - Otherwise it asks for older messages (last, since, an unknown position). Then it subscribes on a connection of its
//     own, and continues with the shared one from the first message that has arrived on both. If it asks for the
//     members, and the leader has not done so, it stays on its own connection.
//   - If the leader leaves, dies or is replaced, every tab connects again, and resumes each channel from its own
//     position: by the rules above, or at the relay if it is the first tab that asks for the channel. A tab that gets
//     the lock although it follows a leader has lost that leader. The first that gets it after that is the new one.
//   - A tab listens to one leader, the one that has sent it a welcome, so what an earlier leader still sends is
//     ignored. A missing number makes the tab resume, too.
//   - If the relay ends the connection, all tabs wait as they would with connections of their own. The lock stays
//     where it is until the first of them is back, so that the free lock makes nobody connect at once.
//   - A tab leaves when it freezes or is hidden in the back/forward cache. If a leader stops without a notice, a
//     visible tab that has heard nothing of it for 1.7 heartbeats, and has had to reconnect, takes the lock away.
//   - The tabs have one user. A welcome with another one ends all of them, as does logout().
//
// Frames for a slow tab wait in the browser. What the tabs hold themselves is bounded: the recent frames
// (share-log.mjs), and the cursors that an own connection has received.

import { Leader } from './share-leader.mjs'
import { Log } from './share-log.mjs'
import { REPORTS, Roster } from './share-members.mjs'
import { OwnConnection } from './share-own.mjs'

const CURSORS = 1000 // of one channel on an own connection
const ECHO_TIME = 10_000 // ms until a published message that must not return is forgotten

/**
 * Returns the class of sockets of one client: Socket itself if the browser cannot share. ended(code, final, retryIn)
 * reports to the client that a connection has ended.
 */
export default function share(options, Socket, ended) {
  if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return Socket
  const tab = new Tab(options, Socket, ended)
  return class extends SharedSocket {
    static end = (code) => tab.end(code)

    constructor(url, protocols) {
      super(tab, url, protocols)
    }
  }
}

/** What outlives the sockets of one client. */
class Tab {
  log = new Log()
  positions = new Map() // what the client has received, by channel: { cursor, at, gap }
  heardAt = Date.now() // the last time that a leader was heard
  heartbeat = 5 // seconds, until a leader has named it
  last // the last frame that arrived: { leader, number }
  free // releases the lock of a leader that waits

  constructor({ share, token }, Socket, ended) {
    this.key = share
    this.token = token
    this.Socket = Socket
    this.ended = ended
  }

  /** Returns the subprotocols of another connection. */
  async protocols() {
    const token = await this.token?.()
    return token ? ['sidecast.v1', `sidecast.token.${token}`] : ['sidecast.v1']
  }

  /** A new socket takes part. */
  open(socket) {
    this.free?.()
    this.free = undefined
    this.socket = socket
    if (this.bus) return
    this.name = `sidecast ${socket.url} ${this.key}`
    this.bus = new BroadcastChannel(this.name)
    this.bus.onmessage = ({ data }) => this.#receive(data)
    globalThis.addEventListener?.('pagehide', this.#suspend)
    globalThis.document?.addEventListener('freeze', this.#suspend)
  }

  #receive(message) {
    if (message.kind === 'end') return this.#endAll()
    if (message.kind === 'hello') this.free?.()
    if (message.kind === 'lead' || message.kind === 'closed') this.heardAt = Date.now()
    this.socket?.receive(message)
  }

  #endAll() {
    this.close()
    this.ended(4401, true)
  }

  /** The client has ended: because of a logout if the code is 4401. */
  end(code) {
    if (code === 4401) this.bus?.postMessage({ kind: 'end' })
    this.close()
  }

  /** Returns false, and ends all tabs, if the user is not the one before. */
  isUser(user = '') {
    this.user ??= user
    if (this.user === user) return true
    this.bus?.postMessage({ kind: 'end' })
    this.#endAll()
    return false
  }

  #suspend = () => {
    this.socket?.end(1001)
    this.close()
  }

  close() {
    this.socket?.close()
    this.free?.()
    this.bus?.close()
    this.bus = undefined
    globalThis.removeEventListener?.('pagehide', this.#suspend)
    globalThis.document?.removeEventListener('freeze', this.#suspend)
  }
}

/** Has the part of the interface of WebSocket that a transport needs. */
class SharedSocket {
  #tab
  #id = crypto.randomUUID()
  #protocols
  #leader // the Leader, in the tab that has the connection
  #connection // in the same tab
  #leaderId // after the welcome
  #number // of the last frame
  #requests = new Map() // what the client has asked for, by channel: { entry, ref, trail }
  #channels = new Map() // joined, by name; see #join
  #own // the OwnConnection
  #wanted = new Set() // the channels that the client has
  #offered // the name of a channel, while the client may open it
  #echoes = [] // messages that the client has published and does not want to receive
  #closed = false
  #closing = new AbortController()
  #isHeld = false // whether this socket has the lock that shows that it is open
  #release // of the lock

  constructor(tab, url, protocols) {
    this.#tab = tab
    this.url = url
    this.#protocols = protocols
    tab.open(this)
    // The leader notices from this lock that the socket is gone.
    const alive = new Promise((resolve) => this.#closing.signal.addEventListener('abort', resolve))
    this.#lock(this.#id, {}, () => {
      this.#isHeld = true
      if (!this.#closed) this.#post({ kind: 'hello' })
      return alive
    })
    this.#claim()
  }

  #lock(id, options, granted) {
    return navigator.locks.request(`${this.#tab.name} ${id}`, options, granted).catch(() => {})
  }

  #post(message) {
    message.from = this.#id
    this.#tab.bus?.postMessage(message)
  }

  // ---- The leader

  async #claim() {
    const { name, heardAt, heartbeat } = this.#tab
    const steal = !globalThis.document?.hidden && Date.now() - heardAt > 1700 * heartbeat
    const options = steal ? { steal } : { signal: this.#closing.signal }
    try {
      await navigator.locks.request(name, options, () => this.#granted())
    } catch {
      if (this.#closed) return
      this.#tab.heardAt = Date.now() // another tab has taken the lock
      this.end(1012, 0)
    }
  }

  #granted() {
    if (this.#closed) return
    if (this.#leaderId) return this.end(1012, 0)
    try {
      const { Socket, log } = this.#tab
      const real = new Socket(this.url, this.#protocols)
      const post = (message) => {
        this.#post(message)
        this.receive(message)
      }
      const leader = new Leader(this.#id, real, log, post, (code) => this.#lost(code))
      this.#leader = leader
      this.#connection = real
      real.onmessage = ({ data }) => this.#closed || leader.receive(data)
      real.onclose = ({ code }) => this.#lost(code)
      real.onerror = () => {} // onclose follows
      leader.join(this.#id)
      this.#post({ kind: 'lead' })
    } catch (error) {
      console.error(error)
      return this.end(1013)
    }
    return new Promise((resolve) => (this.#release = resolve))
  }

  /** The relay has ended the connection. */
  #lost(code) {
    if (this.#closed) return
    this.#tab.free = this.#release
    this.#release = undefined
    this.#close({ kind: 'closed', code })
    this.#tab.ended(code)
  }

  close() {
    this.#close({ kind: 'closed', code: 1012, retryIn: 0 })
  }

  end(code, retryIn) {
    if (this.#closed) return
    this.close()
    this.#tab.ended(code, undefined, retryIn)
  }

  #close(notice) {
    if (this.#closed) return
    this.#closed = true
    this.#own?.close()
    if (this.#leader) {
      this.#post(notice)
      this.#connection.close()
    }
    this.#closing.abort()
    this.#release?.()
    if (this.#tab.socket === this) this.#tab.socket = undefined
  }

  // ---- Messages of other tabs

  receive(message) {
    const { kind, from, to } = message
    if (this.#closed || (to && to !== this.#id)) return
    if (kind === 'hello') {
      const joined = this.#leader?.join(from)
      if (joined) this.#lock(from, { signal: this.#closing.signal }, () => this.#leader.leave(from))
    } else if (kind === 'command') {
      this.#leader?.command(from, message.command)
    } else if (kind === 'lead') {
      this.#follow(from)
    } else if (kind === 'welcome') {
      this.#welcome(message)
    } else if (kind === 'closed') {
      // A tab that waits for a leader waits for the next one if this one has left.
      if (from === this.#leaderId || (!this.#leaderId && !this.#leader && message.retryIn === undefined)) {
        this.end(message.code, message.retryIn)
      }
    } else if (from === this.#leaderId) {
      this.#tab.heardAt = Date.now()
      if (kind === 'frame') this.#frame(message)
      else if (kind === 'answer') this.#answer(message.frame)
      else this.#missed(message)
    }
  }

  /** Another tab has become the leader. */
  #follow(from) {
    if (this.#leader) return
    if (this.#leaderId) {
      if (from !== this.#leaderId) this.end(1012, 0)
    } else if (this.#isHeld) {
      this.#post({ kind: 'hello' })
    }
  }

  #welcome({ from, number, frame }) {
    const tab = this.#tab
    // A leader that has left can have sent a welcome before this tab became the next one.
    if (this.#leaderId || (this.#leader && from !== this.#id) || !tab.isUser(frame.user)) return
    if (tab.last?.leader === from && tab.last.number !== number) tab.log.clear()
    tab.heardAt = Date.now()
    tab.heartbeat = frame.heartbeat
    this.#leaderId = from
    this.#number = number
    this.#emit(frame)
  }

  #frame({ from, number, item }) {
    const tab = this.#tab
    if (number !== this.#number + 1) {
      tab.log.clear()
      return this.end(1012, 0)
    }
    this.#number = number
    tab.last = { leader: from, number }
    if (!this.#leader) tab.log.add(item)
    const { type, text } = item
    const channel = this.#channels.get(item.channel)
    if (type === 'heartbeat') this.#heartbeat(item)
    if (!text) return
    if (REPORTS.includes(type)) {
      if (channel?.own) channel.roster?.apply(JSON.parse(text))
      else if (channel) this.#emit(text)
    } else if (!item.channel) {
      if (type === 'gap' && this.#isSkipping()) return this.end(1012, 0)
      this.#take(item)
    } else if (channel?.skip) {
      if (type === 'gap') this.end(1012, 0)
      else if (item.cursor === channel.skip) channel.skip = undefined
    } else if (channel?.own) {
      this.#meet(channel, item)
    } else if (channel) {
      this.#take(item)
    }
  }

  /** A frame that the other tabs have received before this one joined the channel. */
  #missed({ channel, item }) {
    if (!this.#channels.has(channel)) return
    const missed = { ...item, channel, leader: this.#leaderId }
    if (!this.#leader) this.#tab.log.add(missed)
    this.#take(missed)
  }

  #isSkipping() {
    return [...this.#channels.values()].some(({ skip }) => skip)
  }

  /** Stores the place of a heartbeat for the channels on which everything before it has arrived. */
  #heartbeat({ at }) {
    for (const channel of this.#channels.values()) {
      // What is skipped arrives soon, or not at all.
      if (channel.skip && channel.heartbeats++) return this.end(1012, 0)
      if (at && !channel.skip && !channel.own) this.#setAt(channel.name, at)
    }
  }

  #setAt(channel, at) {
    const position = this.#tab.positions.get(channel)
    if (position) position.at = at
  }

  #answer(frame) {
    const { type, channel, ref, at, durable } = frame
    const request = this.#requests.get(channel)
    if (type === 'unsubscribed') {
      const joined = this.#channels.get(channel)
      if (joined?.own) return (joined.shared = false)
      this.#channels.delete(channel)
      this.#emit(frame)
    } else if (type === 'subscribed' || type === 'elsewhere') {
      if (request?.ref !== ref) return // the client has left meanwhile
      this.#requests.delete(channel)
      if (type === 'elsewhere') return this.#elsewhere(frame, request)
      this.#join(channel, durable, frame.cursor)
      this.#take({ ...frame, text: JSON.stringify(frame) })
      this.#setAt(channel, at)
    } else if (type === 'offer') {
      this.#offer(channel)
    } else {
      if (type === 'error' && request?.ref === ref) this.#requests.delete(channel)
      if (type === 'error') this.#echoes = this.#echoes.filter((echo) => echo.ref !== ref)
      this.#emit(frame)
    }
  }

  /**
   * The relay has subscribed the user to a channel that no tab has asked for. If the client opens it now, it leaves it
   * first, as it does with the channels of a user, and then asks for it.
   */
  #offer(channel) {
    if (this.#wanted.has(channel)) return
    this.#offered = channel
    this.#emit({ type: 'subscribed', channel, recovered: true, ref: 'offer' })
    // With since, the client would believe that it has the channel.
    if (this.#offered) this.#emit({ type: 'unsubscribed', channel })
    this.#offered = undefined
  }

  /** From now on, the frames that the leader repeats follow the cursor. */
  #join(name, durable, cursor) {
    if (!this.#leader) this.#tab.log.restart(name, { after: cursor, durable, leader: this.#leaderId })
    const channel = { name, durable }
    this.#channels.set(name, channel)
    return channel
  }

  // ---- The client

  /** Passes a frame on. */
  #emit(frame) {
    this.onmessage({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) })
  }

  /** Passes a frame on that moves the position of its channel. */
  #take({ id, type, channel, cursor, text }) {
    const { positions } = this.#tab
    if (channel && cursor) positions.set(channel, { cursor })
    if (type === 'gap' && !cursor) {
      for (const [name, { own }] of this.#channels) {
        if (!own && positions.has(name) && (!channel || channel === name)) positions.get(name).gap = id
      }
    }
    // The relay would send a client everything that other tabs publish, so they have to be told apart here.
    if (type === 'message' && this.#echoes.length && this.#isEcho(text)) {
      const { durable } = this.#channels.get(channel)
      return this.#emit({ type: 'subscribed', channel, cursor, durable }) // only moves the client's position
    }
    // A missed gap of all channels is passed on for one of them.
    const one = type === 'gap' && channel && !JSON.parse(text).channel
    this.#emit(one ? { ...JSON.parse(text), channel } : text)
  }

  #isEcho(text) {
    const { channel, data, base64 } = JSON.parse(text)
    this.#echoes = this.#echoes.filter(({ until }) => until > Date.now())
    const i = this.#echoes.findIndex((echo) => echo.channel === channel && echo.data === data && echo.base64 === base64)
    if (i >= 0) this.#echoes.splice(i, 1)
    return i >= 0
  }

  send(text) {
    const command = JSON.parse(text)
    const { type, ref, channel } = command
    if (type === 'subscribe') {
      for (const entry of command.channels) {
        this.#wanted.add(entry.channel)
        const { cursor, at, gap } = this.#tab.positions.get(entry.channel) || {}
        if (cursor && cursor === entry.after) Object.assign(entry, { at, gap })
        // Now, because the frames of a new leader replace those of the one before.
        const { after } = entry
        const trail = after && !this.#leader ? this.#tab.log.trail(entry.channel, after) : undefined
        this.#requests.set(entry.channel, { entry, ref, trail })
      }
    } else if (type === 'unsubscribe') {
      if (channel === this.#offered) {
        this.#offered = undefined
        return queueMicrotask(() => this.#closed || this.#emit({ type: 'unsubscribed', channel }))
      }
      this.#wanted.delete(channel)
      this.#requests.delete(channel)
      this.#disown(this.#channels.get(channel))
      this.#channels.delete(channel)
      this.#tab.positions.delete(channel)
    } else if (type === 'publish' && command.echo === false) {
      // The other tabs have to receive the message.
      const { data, base64 } = command
      this.#echoes.push({ ref, channel, data, base64, until: Date.now() + ECHO_TIME })
      delete command.echo
    }
    this.#command(command)
  }

  #command(command) {
    if (this.#leader) this.#leader.command(this.#id, command)
    else this.#post({ kind: 'command', to: this.#leaderId, command })
  }

  // ---- Channels on a connection of the tab's own

  /** The leader cannot serve the request. Its position is the cursor, if it has the channel. */
  #elsewhere({ channel, cursor, durable, ref, members, count }, { entry, trail }) {
    const { after } = entry
    const shared = Boolean(cursor && (members || !entry.presence))
    if (shared && trail?.has(cursor)) {
      // This tab has received more.
      Object.assign(this.#join(channel, durable, cursor), { skip: after, heartbeats: 0 })
      this.#emit({ type: 'subscribed', channel, cursor: after, durable, recovered: true, ref, members, count })
      return
    }
    const roster = entry.presence && shared ? new Roster() : undefined
    roster?.apply({ members, count })
    Object.assign(this.#join(channel, durable, cursor), { own: true, shared, roster, ref, cursors: new Set() })
    const receive = (frame) => this.#receiveOwn(frame)
    const fail = (code) => this.end(code)
    this.#own ||= new OwnConnection(this.#tab.Socket, this.url, () => this.#tab.protocols(), receive, fail)
    this.#own.add({ ...entry, gap: undefined })
  }

  #receiveOwn(frame) {
    const { type, cursor, at } = frame
    if (type === 'welcome') return this.#tab.isUser(frame.user)
    for (const channel of this.#channels.values()) {
      if (!channel.own) continue
      if (type === 'heartbeat' && at && channel.began) this.#setAt(channel.name, at)
      const isGap = type === 'gap' && !frame.channel && !channel.durable
      if (isGap) this.#takeOwn(channel, { ...frame, channel: channel.name })
    }
    const channel = this.#channels.get(frame.channel)
    if (!channel?.own) return
    if (type === 'error' || type === 'unsubscribed') {
      this.#channels.delete(channel.name)
      this.#disown(channel)
      this.#command({ type: 'unsubscribe', channel: channel.name, quiet: true })
      return this.#emit({ ...frame, ref: channel.ref }) // last, because the client may ask for the channel again
    }
    this.#takeOwn(channel, type === 'message' ? frame : { ...frame, ref: channel.ref })
    if ((type === 'message' || type === 'subscribed') && channel.shared) {
      const items = this.#tab.log.after(channel.name, cursor)
      if (!items) return
      this.#meetAt(channel)
      for (const item of items) if (item.text) this.#take({ ...item, channel: channel.name })
    }
  }

  #takeOwn(channel, frame) {
    if (REPORTS.includes(frame.type)) return this.#emit(frame)
    if (frame.type === 'subscribed') Object.assign(channel, { durable: frame.durable, began: true })
    if (frame.type === 'message') {
      channel.cursors.delete(frame.cursor)
      channel.cursors.add(frame.cursor)
      channel.last = frame.cursor
      if (channel.cursors.size > CURSORS) channel.cursors.delete(channel.cursors.values().next().value)
    } else {
      channel.cursors.clear()
    }
    this.#take({ ...frame, text: JSON.stringify(frame) })
  }

  /** A message of the shared connection may have arrived on the own connection, too. */
  #meet(channel, { type, cursor }) {
    if (type !== 'message' || !channel.shared || !channel.cursors.has(cursor)) return
    const { last } = channel
    this.#meetAt(channel)
    if (cursor !== last) Object.assign(channel, { skip: last, heartbeats: 0 })
  }

  /** Both connections have reported the same, except for the members, which are not ordered with the messages. */
  #meetAt(channel) {
    this.#disown(channel)
    if (channel.roster) this.#emit({ type: 'members', channel: channel.name, ...channel.roster.fields })
    channel.roster = undefined
  }

  /** The channel does not use the own connection any more. */
  #disown(channel) {
    if (!channel?.own) return
    channel.own = false
    channel.cursors.clear()
    this.#own?.remove(channel.name)
    for (const { own } of this.#channels.values()) if (own) return
    this.#own?.close()
    this.#own = undefined
  }
}
