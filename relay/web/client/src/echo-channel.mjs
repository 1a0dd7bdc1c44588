// The channels of Laravel Echo, over those of sidecast.mjs.
//
// Laravel publishes an event as {"event":..,"data":..,"socket":..}. The socket is the id of the client that caused the
// event, if the event is only for others. The relay adds "user_id" to what a member of a presence channel whispers.

const NOTIFICATION = '.Illuminate\\Notifications\\Events\\BroadcastNotificationCreated'
const GAP = '.sidecast:gap'

/** Like pusher-js, it parses what is JSON. */
function decode(data) {
  try {
    return typeof data === 'string' ? JSON.parse(data) : data
  } catch {
    return data
  }
}

/** Returns the event in a payload. What Laravel did not publish is the event "message". */
function parse(payload) {
  const envelope = decode(payload)
  if (typeof envelope?.event !== 'string') return { event: 'message', data: envelope }
  return { ...envelope, data: decode(envelope.data) }
}

export class EchoChannel {
  #connector
  #channel
  #listeners = new Map() // sets of callbacks, by event

  constructor(connector, name) {
    this.#connector = connector
    this.name = name
    this.subscribe()
  }

  /** Subscribes on the connector's connection, which may be a new one. */
  subscribe(options) {
    let subscribed = false
    const load = () => {
      if (!subscribed) this.fire('subscribed')
      subscribed = true
    }
    const sig = /^(private|presence)-/.test(this.name) ? (name) => this.#connector.authorize(name) : undefined
    this.#channel = this.#connector.relay.channel(this.name, { load, sig, ...options })
    this.#channel.on('message', ({ data }) => this.#receive(parse(data)))
    this.#channel.on('gap', (gap) => this.fire('event' + GAP.replace('.', ':'), gap))
    this.#channel.on('error', (error) => this.fire('error', error) || console.error(error))
    return this.#channel
  }

  #receive({ event, data, socket, user_id }) {
    if (this.#connector.isOwn(socket)) return
    const metadata = user_id == null ? {} : { user_id } // of a whisper
    this.fire('event:' + event, data, metadata)
    this.fire('all', this.#shorten(event), data)
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

  /** Calls back when messages may be missing, with the reason. */
  gap(callback) {
    return this.listen(GAP, callback)
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

  /** Publishes an event to the other clients of the channel. */
  whisper(event, data) {
    const socket = this.#connector.unissuedId()
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

export class EchoPresenceChannel extends EchoChannel {
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
