// The client of a Sidecast relay, for browsers and Node: one connection, any number of channels, and no message missing
// without notice.
//
//	const relay = connect()
//	const chat = relay.channel('chat:42')
//	chat.on('message', (m) => console.log(m.data))
//
// The frames and the rules of resuming are in relay/protocol/README.md, the API is in sidecast.d.ts.
//
// A transport is a class with the part of WebSocket's interface that open() uses: a constructor (url, protocols), send,
// close, onmessage and onclose. Each transport carries the frames of sidecast.v1, so this file does not know whether it
// uses a WebSocket, the streams of sidecast-sse.mjs, or a connection that several tabs share. If it has a property eager,
// it accepts commands before the welcome.

// The states of a subscription.
const PREPARED = 0 // it has to be requested
const OFF = 1 // the same, but some have to be prepared before
const PREPARING = 2
const ASKED = 3 // the relay has not answered yet
const ON = 4
const LEAVING = 5 // the relay has not confirmed the end yet
const REFUSED = 6 // requested again on the next connection, or after a while if the reason is temporary

const LONGEST_WAIT = 30_000 // ms between two attempts
const HELD_MESSAGES = 1000 // while load runs
const FRAME_CHANNELS = 15 // of a subscribe, so that it is at most 8 KiB

const encoder = new TextEncoder()

/** A message as it was published. */
function published({ channel, cursor, data, base64 }) {
  const bytes = base64 != null && Uint8Array.from(atob(base64), (c) => c.charCodeAt())
  if (bytes) data = new TextDecoder().decode(bytes)
  return { channel, cursor, data, bytes: () => bytes || encoder.encode(data), json: () => JSON.parse(data) }
}

/** The fields of a publish that carry the data. */
function payload(data) {
  if (typeof data === 'string') return { data }
  if (data?.byteLength == null) return { data: JSON.stringify(data) }
  const bytes = new Uint8Array(data.buffer || data, data.byteOffset, data.byteLength) // also of another window
  return { base64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')) }
}

const failure = (code, message) => Object.assign(new Error(message || code), { code })

/** A random part of the longest wait after so many failures in a row. */
const backOff = (failures) => Math.random() * Math.min(LONGEST_WAIT, 500 * 2 ** failures)

function emitter() {
  const listeners = {}
  return {
    on(event, listener) {
      const call = (value) => listener(value) // so that a function may be added twice
      const list = (listeners[event] ||= new Set())
      list.add(call)
      return () => list.delete(call)
    },
    emit(event, value) {
      if (event === 'error' && !listeners.error?.size) console.error(value)
      for (const call of listeners[event] || []) {
        try {
          call(value)
        } catch (error) {
          // Reported like any uncaught error, but the other listeners run.
          queueMicrotask(() => {
            throw error
          })
        }
      }
    },
  }
}

export function connect(url, options = {}) {
  const Socket = options.WebSocket || WebSocket
  const address = new URL(url || '/ws', globalThis.location)
  address.protocol = address.protocol.replace('http', 'ws')

  const { on, emit } = emitter()
  const subscriptions = new Map() // by channel
  const publishes = new Map() // by ref, until the answer
  let socket
  let Shared // the class of sidecast-share.mjs, when it is loaded
  let timer // until the next attempt, or until the connection counts as dead
  let turn = 0 // of the connection: what an earlier one still does is ignored
  let ready // whether commands can be sent
  let welcomedAt = 0 // 0 until the relay has accepted the connection
  let heartbeat = 25 // seconds, until the relay says otherwise
  let failures = 0 // connections in a row that ended early
  let unauthorized // whether the last connection that lasted was followed by a 4401
  let silent = 0 // WebSockets in a row without a welcome
  let fallback // whether the transport is sidecast-sse.mjs
  let ref = 0

  const relay = { on, channel, close: () => ended(1000, true), logout: () => ended(4401, true) }

  function setState(state, more) {
    if (relay.state === state) return
    relay.state = state
    emit('state', { state, ...more })
  }

  const send = (command) => socket.send(JSON.stringify(command))

  // ---- The connection

  async function open() {
    const mine = ++turn
    expectFrame(10)
    setState('connecting') // last, because a listener may call close()
    try {
      const token = await options.token?.()
      fallback = options.sse && silent > 1 && !fallback
      if (options.share) Shared ||= (await import('./sidecast-share.mjs')).default(options, Socket, ended)
      const Transport = fallback ? (await import('./sidecast-sse.mjs')).default : Shared || Socket
      if (mine !== turn) return
      expectFrame(10)
      socket = new Transport(address, token ? ['sidecast.v1', 'sidecast.token.' + token] : ['sidecast.v1'])
      socket.onmessage = (event) => mine === turn && receive(JSON.parse(event.data))
      socket.onclose = (event) => mine === turn && ended(event.code)
      socket.onerror = () => {} // onclose follows
      ready = socket.eager
      synchronize()
    } catch (error) {
      console.error(error)
      if (mine === turn) ended(1013)
    }
  }

  /** Ends the connection unless a frame arrives in time. */
  function expectFrame(seconds) {
    clearTimeout(timer)
    timer = setTimeout(ended, seconds * 1000, 1006)
  }

  function ended(code, final = code === 4403 || code === 4409, retryIn) {
    if (relay.state === 'closed') return
    turn++
    if (final) Shared?.end?.(code)
    clearTimeout(timer)
    socket?.close()
    rejectAll()
    for (const subscription of subscriptions.values()) {
      subscription.status = OFF
      clearTimeout(subscription.retry)
    }

    if (socket && !welcomedAt && !fallback) silent++
    if (welcomedAt && Date.now() - welcomedAt > 1000) failures = unauthorized = 0
    socket = ready = undefined
    welcomedAt = 0
    if (final) {
      globalThis.removeEventListener?.('online', wake)
      globalThis.document?.removeEventListener('visibilitychange', wakeIfVisible)
      setState('closed', { code })
      for (const { handles } of subscriptions.values()) for (const handle of handles) handle.close()
      return
    }
    // After 4401, a new login may help: the browser sends its current cookies.
    retryIn ??= code === 4401 && !unauthorized ? 0 : backOff(failures++)
    unauthorized ||= code === 4401
    timer = setTimeout(open, retryIn)
    setState('waiting', { code, retryIn })
  }

  /** The network is back, or the user looks at the page again. */
  function wake() {
    if (relay.state === 'waiting') open()
    if (!ready) return
    send({ type: 'ping' })
    expectFrame(5)
  }

  const wakeIfVisible = () => document.hidden || wake()

  // ---- Frames

  function receive(frame) {
    if (frame.heartbeat) heartbeat = frame.heartbeat
    expectFrame(1.75 * heartbeat)
    const subscription = subscriptions.get(frame.channel)
    subscription?.hear?.(frame)
    handlers[frame.type]?.(frame, subscription)
  }

  const handlers = {
    welcome(frame) {
      welcomedAt = Date.now()
      ready = true
      if (!fallback) silent = 0
      for (const subscription of subscriptions.values()) if (subscription.own) leave(subscription)
      synchronize()
      for (const { command } of publishes.values()) send(command)
      setState(frame.offline ? 'redis-offline' : 'open', frame) // last, because a listener may publish, or call close()
    },

    subscribed(frame, subscription) {
      if (!subscription) emit('subscribed', frame) // the page may open the channel now
      subscription = subscriptions.get(frame.channel)
      if (!subscription || subscription.status === LEAVING) return
      const { entry, known, status, handles } = subscription
      const { after, at, since, last, presence } = entry
      const resumes = after || at || since
      // The relay subscribes users to their own channels when they connect. Without ref, this is the answer to that. If
      // the answer to our subscribe says that nothing is missing, although we have no position, it repeats that one.
      // If the application has subscribed the user to a channel that the relay refused or ended, there is only this one.
      const isOther = frame.ref ? !resumes && frame.recovered : resumes || last || presence
      if (status < ON && isOther) return leave(subscription, true)
      move(subscription, frame)
      subscription.durable = frame.durable
      subscription.status = ON
      subscription.known = true
      subscription.tries = 0
      if (status === ON) return
      if (known && !frame.recovered) gap(subscription, { ...frame, reason: 'unrecovered' })
      for (const handle of handles) handle.start(!known && frame.recovered)
      entry.since = entry.last = undefined // from now on, it has a position of its own
    },

    unsubscribed(frame, subscription) {
      if (!subscription) return
      const { entry, status, sign } = subscription
      // A right that has expired may be renewed, but a signature that is a text is not.
      if (status === LEAVING || (frame.reason === 'expired' && (sign || !entry.sig))) {
        subscription.status = OFF
        synchronize()
      } else {
        refuse(subscription, failure(frame.reason || 'unsubscribed'))
      }
    },

    message(frame, subscription) {
      if (subscription?.status !== ON) return
      move(subscription, frame)
      for (const handle of [...subscription.handles]) handle.receive(published(frame))
    },

    gap(frame, subscription) {
      if (subscription) {
        if (subscription.status !== ON) return
        move(subscription, frame)
        gap(subscription, frame)
      } else if (!frame.channel) {
        setState('open')
        for (const each of subscriptions.values()) if (each.status === ON && !each.durable) gap(each, frame)
      }
    },

    heartbeat({ at, channels }) {
      for (const subscription of subscriptions.values()) {
        // Only a transport of several streams names channels.
        if (at && subscription.status === ON && (!channels || channels.includes(subscription.entry.channel))) subscription.entry.at = at
      }
    },

    offline() {
      setState('redis-offline')
    },

    ok(frame) {
      publishes.get(frame.ref)?.resolve()
      publishes.delete(frame.ref)
    },

    error(frame, subscription) {
      const error = failure(frame.code, frame.message)
      const publish = publishes.get(frame.ref)
      if (frame.code === 'rate_limited') {
        // The relay does not answer each command that it refuses for this reason.
        rejectAll(error)
        for (const { status } of subscriptions.values()) if (status === ASKED || status === LEAVING) ended(1013)
      } else if (publish) {
        publish.reject(error)
        publishes.delete(frame.ref)
      } else if (subscription?.status === LEAVING) {
        if (frame.code === 'not_subscribed') handlers.unsubscribed(frame, subscription)
      } else {
        for (const each of subscriptions.values()) {
          if (each.status !== ASKED || each.ref !== frame.ref || (frame.channel && each !== subscription)) continue
          // The relay may have subscribed the user already.
          if (error.code === 'bad_request' && subscription && !each.own) leave(each, true)
          else refuse(each, error)
        }
      }
    },
  }

  function rejectAll(error = failure('unavailable', 'not connected')) {
    for (const { reject } of publishes.values()) reject(error)
    publishes.clear()
  }

  // ---- Subscriptions

  /** Stores the position of a frame, from which the next connection resumes. */
  function move({ entry }, { cursor }) {
    if (!cursor) return
    entry.after = cursor
    entry.at = undefined
  }

  function gap({ handles }, frame) {
    for (const handle of [...handles]) handle.gap(frame)
  }

  /** Reports an error. The subscription is requested again: soon if the reason is temporary. */
  function refuse(subscription, error, temporary = error.code === 'unavailable') {
    subscription.status = REFUSED
    for (const handle of [...subscription.handles]) handle.emit('error', error)
    if (!temporary) return
    subscription.retry = setTimeout(() => {
      if (subscription.status === REFUSED) subscription.status = OFF
      queueMicrotask(synchronize)
    }, backOff(subscription.tries++))
  }

  /** Gets the signature from the page, and gets ready for members. Few channels need that, so it is in another file. */
  async function prepare(subscription) {
    subscription.status = PREPARING
    try {
      await (await import('./sidecast-extra.mjs')).default(subscription)
      if (subscription.status === PREPARING) subscription.status = PREPARED
    } catch (error) {
      if (subscription.status === PREPARING) refuse(subscription, error, !error.final)
    }
    queueMicrotask(synchronize) // later, because others may be prepared at the same time
  }

  /** Ends a subscription at the relay. A user's own channel is left before it is requested. */
  function leave(subscription, own) {
    subscription.own ||= own
    subscription.status = LEAVING
    send({ type: 'unsubscribe', channel: subscription.entry.channel })
  }

  /** Ends a subscription that no channel uses. */
  function drop(subscription) {
    const { entry, status } = subscription
    subscription.known = entry.after = entry.at = undefined
    if (status === ASKED || status === ON) {
      leave(subscription)
    } else if (status !== LEAVING) {
      subscriptions.delete(entry.channel)
      subscription.status = OFF
      clearTimeout(subscription.retry)
    }
  }

  /** Sends the commands that make the relay's subscriptions equal to ours. It is called after each change of them. */
  function synchronize() {
    if (!ready) return
    const commands = []
    let command
    for (const subscription of subscriptions.values()) {
      const { entry, status, handles } = subscription
      if (!handles.size) {
        drop(subscription)
      } else if (status === OFF && (subscription.sign || entry.presence)) {
        prepare(subscription)
      } else if (status <= OFF) {
        if (!command || command.channels.length === FRAME_CHANNELS) {
          commands.push((command = { type: 'subscribe', ref: ++ref, channels: [] }))
        }
        command.channels.push(entry)
        subscription.status = ASKED
        subscription.ref = ref
      }
    }
    for (const command of commands) send(command)
  }

  function channel(name, { load, since, last, sig, user, presence } = {}) {
    const { on, emit: call } = emitter()
    const emit = (event, value) => open && call(event, value)
    let subscription = subscriptions.get(name)
    // If the last channel of this name was closed just now, the new one continues it, unless it begins elsewhere.
    if (subscription?.handles.size === 0 && (since || last || subscription.status !== ON)) drop(subscription)
    if (!subscriptions.has(name)) {
      subscriptions.set(name, { entry: { channel: name }, status: OFF, tries: 0, members: new Map(), handles: new Set() })
    }
    subscription = subscriptions.get(name)
    if (!subscription.handles.size) {
      Object.assign(subscription.entry, { since, last, sig, user })
      subscription.sign = sig?.call && sig
    }
    if (subscription.status === REFUSED) subscription.status = OFF
    if (presence && !subscription.entry.presence) {
      // Members are reported only if the subscribe has asked for them.
      subscription.entry.presence = true
      if (subscription.status === ASKED || subscription.status === ON) leave(subscription)
    }

    let open = relay.state !== 'closed'
    let started = false // whether this channel has been subscribed to
    let held // the messages that arrived while load runs
    let stale = false // load has to run again
    let running = false
    let wait // ms at most before the next run
    let pause // the timer of that

    /** Runs load until it has succeeded and nothing was missing since it began. */
    async function reload(spread) {
      wait = spread
      if (held) stale = true
      if (!load || running) return
      running = stale = true
      for (let tries = 0; stale; wait ||= Math.min(LONGEST_WAIT, 500 * 2 ** tries++)) {
        if (wait) await new Promise((resolve) => (pause = setTimeout(resolve, Math.random() * wait)))
        if (!open) return
        held = []
        stale = wait = 0
        let error
        try {
          await load()
        } catch (thrown) {
          error = thrown
        }
        if (!open) return
        const messages = held
        held = undefined
        if (messages.length > HELD_MESSAGES) stale = true
        else for (const message of messages) emit('message', message)
        if (error) {
          stale = true
          emit('error', error)
        }
      }
      running = false
    }

    const handle = {
      emit,
      close,
      start(recovered) {
        if (!started && !(recovered && since && since === subscription.entry.since)) reload()
        started = true
        if (subscription.entry.presence) emit('members', subscription.members)
      },
      gap({ channel, reason, spread }) {
        started = true
        emit('gap', { reason, channel })
        reload(spread)
      },
      receive(message) {
        if (!held) emit('message', message)
        else if (held.length <= HELD_MESSAGES) held.push(message)
      },
    }

    function close() {
      if (!open) return
      emit('close')
      open = false
      clearTimeout(pause)
      subscription.handles.delete(handle)
      queueMicrotask(synchronize)
    }

    subscription.handles.add(handle)
    if (subscription.status === ON) queueMicrotask(handle.start) // later, because load may use the channel
    queueMicrotask(synchronize)

    return {
      name,
      on,
      close,
      members: subscription.members,

      publish(data, { echo } = {}) {
        return new Promise((resolve, reject) => {
          synchronize() // first, so that a channel that was opened just now receives the message
          const command = { type: 'publish', ref: ++ref, channel: name, echo, ...payload(data) }
          publishes.set(ref, { command, resolve, reject })
          if (ready) send(command)
          if (relay.state === 'closed') rejectAll()
        })
      },

      async *[Symbol.asyncIterator]() {
        const queue = []
        let wake
        const offs = [on('message', (message) => (queue.push(message), wake?.())), on('close', () => wake?.())]
        try {
          while (open || queue.length) {
            if (queue.length) yield queue.shift()
            else await new Promise((resolve) => (wake = resolve))
          }
        } finally {
          for (const off of offs) off()
        }
      },
    }
  }

  globalThis.addEventListener?.('online', wake)
  globalThis.document?.addEventListener('visibilitychange', wakeIfVisible)
  open()
  return relay
}
