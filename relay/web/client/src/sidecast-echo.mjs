// A connector for Laravel Echo: Echo's API over sidecast.v1, which resumes.
//
//	new Echo({ broadcaster: SidecastConnector })
//
// Laravel's redis driver publishes an event as {"event":..,"data":..,"socket":..}. The socket is the id of the client that
// caused the event, if the event is only for others.
import { connect } from './sidecast.mjs'

const NOTIFICATION = '.Illuminate\\Notifications\\Events\\BroadcastNotificationCreated'

/** A random number of 31 bits: socket ids have the form of Pusher's, 123.456. */
const random = () => Math.floor(Math.random() * 2 ** 31)

/** Returns the event in a payload. What Laravel did not publish is the event "message". */
function parse(message) {
  try {
    const envelope = message.json()
    if (typeof envelope.event === 'string') return envelope
  } catch {
    // not JSON
  }
  return { event: 'message', data: message.data }
}

class EchoChannel {
  #connector
  #channel
  #listeners = new Map() // sets of callbacks, by event

  constructor(connector, name) {
    this.#connector = connector
    this.name = name
    this.subscribe()
  }

  subscribe(options) {
    let subscribed = false
    const load = () => {
      if (!subscribed) this.fire('subscribed')
      subscribed = true
    }
    this.#channel = this.#connector.relay.channel(this.name, { load, ...options })
    this.#channel.on('message', (message) => {
      const { event, data, socket } = parse(message)
      if (socket && socket === this.#connector.socketId()) return
      this.fire('event:' + event, data)
      this.fire('all', this.#shorten(event), data)
    })
    this.#channel.on('gap', (gap) => this.fire('event:sidecast:gap', gap))
    this.#channel.on('error', (error) => this.fire('error', error) || console.error(error))
    return this.#channel
  }

  unsubscribe() {
    this.#channel.close()
  }

  listen(event, callback) {
    return this.add('event:' + this.#format(event), callback)
  }

  listenToAll(callback) {
    return this.add('all', callback)
  }

  stopListening(event, callback) {
    return this.#off('event:' + this.#format(event), callback)
  }

  stopListeningToAll(callback) {
    return this.#off('all', callback)
  }

  subscribed(callback) {
    return this.add('subscribed', callback)
  }

  error(callback) {
    return this.add('error', callback)
  }

  notification(callback) {
    return this.listen(NOTIFICATION, callback)
  }

  stopListeningForNotification(callback) {
    return this.stopListening(NOTIFICATION, callback)
  }

  listenForWhisper(event, callback) {
    return this.listen('.client-' + event, callback)
  }

  stopListeningForWhisper(event, callback) {
    return this.stopListening('.client-' + event, callback)
  }

  /** Publishes an event to the other clients of the channel. The relay has to allow this client to publish. */
  whisper(event, data) {
    const socket = this.#connector.socketId()
    const published = this.#channel.publish({ event: 'client-' + event, data, socket }, { echo: false })
    published.catch((error) => this.fire('error', error) || console.error(error))
    return this
  }

  add(event, callback) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set())
    this.#listeners.get(event).add(callback)
    return this
  }

  #off(event, callback) {
    if (callback) this.#listeners.get(event)?.delete(callback)
    else this.#listeners.delete(event)
    return this
  }

  /** Calls the callbacks, and returns how many there are. */
  fire(event, ...values) {
    const callbacks = this.#listeners.get(event) || new Set()
    for (const callback of callbacks) callback(...values)
    return callbacks.size
  }

  #namespace() {
    return String(this.#connector.options.namespace || '').replaceAll('.', '\\')
  }

  /** The full name of an event: OrderShipped is App\Events\OrderShipped, and .server.created is server.created. */
  #format(event) {
    if (/^[.\\]/.test(event)) return event.slice(1)
    return (this.#namespace() ? this.#namespace() + '\\' : '') + event.replaceAll('.', '\\')
  }

  #shorten(event) {
    const prefix = this.#namespace() + '\\'
    return event.startsWith(prefix) ? event.slice(prefix.length) : '.' + event
  }
}

/** A member as Laravel describes it: with the id in the fields. */
const member = (user, info) => ({ id: user, ...(typeof info === 'object' && info) })

class EchoPresenceChannel extends EchoChannel {
  subscribe() {
    const channel = super.subscribe({ presence: true })
    channel.on('members', (members) => {
      const known = members.count !== undefined // not over Server-Sent Events
      if (known) this.fire('here', Array.from(members, ([user, info]) => member(user, info)))
    })
    channel.on('join', ({ user, info }) => this.fire('joining', member(user, info)))
    channel.on('leave', ({ user, info }) => this.fire('leaving', member(user, info)))
    return channel
  }

  here(callback) {
    return this.add('here', callback)
  }

  joining(callback) {
    return this.add('joining', callback)
  }

  leaving(callback) {
    return this.add('leaving', callback)
  }
}

export class SidecastConnector {
  channels = {}
  #socketId = `${random()}.${random()}`
  #watchers = new Set()

  constructor(options) {
    this.options = { namespace: 'App.Events', ...options }
    this.connect()
  }

  connect() {
    this.relay?.close()
    const { url, ...options } = this.options
    this.relay = connect(url, options)
    this.relay.on('state', () => {
      for (const watcher of this.#watchers) watcher(this.connectionStatus())
    })
    for (const channel of Object.values(this.channels)) channel.subscribe()
  }

  listen(channel, event, callback) {
    return this.channel(channel).listen(event, callback)
  }

  channel(name) {
    return (this.channels[name] ||= new EchoChannel(this, name))
  }

  privateChannel(name) {
    return this.channel('private-' + name)
  }

  presenceChannel(name) {
    return (this.channels['presence-' + name] ||= new EchoPresenceChannel(this, 'presence-' + name))
  }

  leave(name) {
    for (const prefix of ['', 'private-', 'presence-']) this.leaveChannel(prefix + name)
  }

  leaveChannel(name) {
    this.channels[name]?.unsubscribe()
    delete this.channels[name]
  }

  /** Echo sends it to Laravel with each request, so that events can be for others only. */
  socketId() {
    return this.#socketId
  }

  connectionStatus() {
    const states = { open: 'connected', 'redis-offline': 'connected', waiting: 'reconnecting', closed: 'disconnected' }
    return states[this.relay.state] || 'connecting'
  }

  onConnectionChange(callback) {
    this.#watchers.add(callback)
    return () => this.#watchers.delete(callback)
  }

  disconnect() {
    this.relay.close()
  }
}
