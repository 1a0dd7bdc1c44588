// A connector for Laravel Echo: Echo's API over sidecast.v1, which resumes.
//
//	new Echo({ broadcaster: SidecastConnector })
import { Authorizer } from './echo-auth.mjs'
import { EchoChannel, EchoPresenceChannel } from './echo-channel.mjs'
import { connect } from './sidecast.mjs'

const REMEMBERED = 1000 // socket ids of earlier connections

/** A random number of 31 bits: socket ids have the form of Pusher's, 123.456. */
const random = () => Math.floor(Math.random() * 2 ** 31)

export class SidecastConnector {
  channels = {}
  #ids = new Set() // of this and of earlier connections: a message for others may arrive after a reconnect
  #socketId // the newest, or undefined before the first connection
  #unissued = `${random()}.${random()}` // if the relay gives none
  #authorizer // of the connection, if the relay verifies signatures
  #code // with which the connection was closed
  #watchers = new Set()

  constructor(options) {
    this.options = { namespace: 'App.Events', ...options }
    this.connect()
  }

  connect() {
    this.relay?.close()
    // Signatures and socket ids are for one connection and one page, so tabs cannot share them.
    const { url, share, ...options } = this.options
    this.relay = connect(url, options)
    this.relay.on('state', (event) => this.#changed(event))
    for (const channel of Object.values(this.channels)) channel.subscribe()
  }

  #changed({ type, state, code, socket_id }) {
    const isConnected = state === 'open' || state === 'redis-offline'
    if (type === 'welcome' || !isConnected) this.#authorizer?.close()
    if (!isConnected) this.#authorizer = undefined
    if (type === 'welcome') this.#welcome(socket_id)
    this.#code = code
    for (const watcher of this.#watchers) watcher(this.connectionStatus())
  }

  #welcome(issued) {
    this.#socketId = issued || this.#unissued
    this.#ids.delete(this.#socketId)
    this.#ids.add(this.#socketId)
    if (this.#ids.size > REMEMBERED) this.#ids.delete(this.#ids.values().next().value)
    const { authEndpoint, authorizer } = this.options
    const asks = authorizer || authEndpoint || authEndpoint === undefined
    this.#authorizer = issued && asks ? new Authorizer(this.options, issued) : undefined
  }

  /** Returns a promise of the signature of a subscribe, or undefined if the relay decides by its own rules. */
  authorize(channel) {
    return this.#authorizer?.authorize(channel)
  }

  /** Reports whether a message is only for others. */
  isOwn(socket) {
    return this.#ids.has(socket)
  }

  /** The id to send in whispers. A relay that has given one sets it itself. */
  unissuedId() {
    return this.#socketId === this.#unissued ? this.#unissued : undefined
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
    const closed = this.#code === 1000 || this.#code === 4401 ? 'disconnected' : 'failed'
    return { open: 'connected', 'redis-offline': 'connected', waiting: 'reconnecting', closed }[this.relay.state] || 'connecting'
  }

  onConnectionChange(callback) {
    this.#watchers.add(callback)
    return () => this.#watchers.delete(callback)
  }

  disconnect() {
    this.relay.close()
  }
}
