// The transport for networks that block WebSocket: Server-Sent Events. sidecast.mjs loads it if it is connected with the
// option sse.
//
// The relay sends live channels in one stream (or a few, if there are many), and each durable channel in a stream of its own. A stream cannot change its
// channels, so it is replaced: the new one continues at the positions that the old one had reached. The streams are read
// with fetch, because EventSource does not show heartbeats, without which a dead connection is not noticed.

const URL_LENGTH = 7000 // at which another stream begins: many proxies reject more than 8 KiB
const POSITION_LENGTH = 80 // of a channel, in the URL

const streamsURL = (url) => {
  const streams = new URL(url)
  streams.protocol = streams.protocol.replace('ws', 'http')
  streams.pathname = streams.pathname.replace(/\/(ws)?$/, '') + '/sse'
  return streams
}

/** The channels that need a stream of their own, and those of them that a relay has reported as durable. */
const alone = new Set()
const durable = new Set()

/** Has the part of the interface of WebSocket that a transport needs. */
export default class EventStreams {
  eager = true // the streams can only be opened when their channels are known

  #url
  #token
  #channels = new Map() // what is subscribed, with its position, by name
  #streams = new Map() // by key
  #heartbeat = 25 // seconds
  #welcomed = false
  #closed = false

  constructor(url, protocols) {
    this.#url = streamsURL(url)
    this.#token = protocols[1]?.replace('sidecast.token.', '')
  }

  send(text) {
    const { type, ref, channel, channels } = JSON.parse(text)
    if (type === 'subscribe') {
      for (const request of channels) this.#channels.set(request.channel, { ...request, ref })
      queueMicrotask(() => this.#arrange())
    } else if (type === 'unsubscribe') {
      this.#channels.delete(channel)
      queueMicrotask(() => this.#arrange())
      this.#answer({ type: 'unsubscribed', ref, channel })
    } else if (type === 'ping') {
      if ([...this.#streams.values()].every((stream) => stream.isAlive())) this.#answer({ type: 'pong', ref })
      else queueMicrotask(() => this.#end(1006))
    } else {
      const message = 'publishing needs a WebSocket, which this network seems to block'
      this.#answer({ type: 'error', code: 'unavailable', message, ref })
    }
  }

  close() {
    this.#closed = true
    for (const stream of this.#streams.values()) stream.close()
  }

  #end(code) {
    if (this.#closed) return
    this.close()
    this.onclose({ code })
  }

  #emit(frame) {
    if (!this.#closed) this.onmessage({ data: JSON.stringify(frame) })
  }

  #answer(frame) {
    queueMicrotask(() => this.#emit(frame))
  }

  /** Makes the streams those of the channels. */
  #arrange() {
    if (this.#closed) return
    const wanted = new Map() // names by key
    const lengths = new Map() // of the URLs, by the kind of stream
    for (const [name, { after, at, last }] of this.#channels) {
      const kind = alone.has(name) ? 'alone ' + name : after || at || !last ? 'live' : 'last ' + last
      const length = (lengths.get(kind) || 0) + String(new URLSearchParams({ name })).length + POSITION_LENGTH
      lengths.set(kind, length)
      const key = `${kind} ${Math.floor(length / URL_LENGTH)}`
      wanted.set(key, [...(wanted.get(key) || []), name])
    }
    for (const [key, stream] of this.#streams) {
      if (stream.names.join('\n') === wanted.get(key)?.join('\n')) continue
      stream.close()
      this.#streams.delete(key)
    }
    for (const [key, names] of wanted) {
      if (!this.#streams.has(key)) this.#streams.set(key, this.#open(names))
    }
  }

  #open(names) {
    const url = new URL(this.#url)
    url.searchParams.set('format', 'json')
    const requests = names.map((name) => this.#channels.get(name))
    for (const { channel, after = '', at = '' } of requests) {
      url.searchParams.append('channel', channel)
      url.searchParams.append('after', after)
      url.searchParams.append('at', at)
    }
    const [{ after, at, last, since }] = requests
    if (last != null && !after && !at) url.searchParams.set('last', last)
    if (since && !after) url.searchParams.set('since', since)
    sign(url, requests)
    return new Stream(url, this.#token, names, {
      heartbeat: () => this.#heartbeat,
      block: (stream, block) => this.#receive(stream, block),
      refused: (stream, status, text) => this.#refused(stream, status, text),
      ended: () => this.#end(1006),
    })
  }

  /** The relay does not serve these channels together, or not at all. */
  async #refused({ names }, status, text) {
    // The reason is the token, unless a channel has a signature, which may have expired.
    if (status === 401 && this.#token && !names.some((name) => this.#isSigned(name))) return this.#end(4401)
    if (status !== 400 && status !== 401 && status !== 403) return this.#end(1013)
    // The answer to a mixture of channels names the durable ones, each in a line.
    const found = text.split('\n').filter((name) => names.includes(name) && !durable.has(name))
    for (const name of found) durable.add(name)
    for (const name of found) alone.add(name)
    if (names.length === 1) this.#refuse(names[0], status, text)
    else if (!found.length && !(await this.#findRefused(names))) for (const name of names) alone.add(name)
    for (const [key, stream] of this.#streams) if (stream.names === names) this.#streams.delete(key)
    this.#arrange()
  }

  #refuse(name, status, text) {
    const code = { 401: 'unauthorized', 403: 'forbidden' }[status] || 'bad_request'
    const channel = this.#channels.get(name)
    this.#channels.delete(name)
    if (channel) this.#emit({ type: 'error', code, message: text.trim(), channel: name, ref: channel.ref })
  }

  #isSigned(name) {
    return Boolean(this.#channels.get(name)?.sig)
  }

  /** Requests each channel alone, because one of them may be the reason why all were refused. */
  async #findRefused(names) {
    let refused = 0
    for (const name of names) {
      const url = new URL(this.#url)
      url.searchParams.append('channel', name)
      sign(url, [this.#channels.get(name) || {}])
      await new Promise((resolve) => {
        const probe = new Stream(url, this.#token, [name], {
          heartbeat: () => this.#heartbeat,
          block: () => (probe.close(), resolve()),
          refused: (_, status, text) => {
            if (status === 401 && this.#token && !this.#isSigned(name)) this.#end(4401)
            resolve(this.#refuse(name, status, text), refused++)
          },
          ended: resolve,
        })
      })
    }
    return refused
  }

  #receive(stream, { id, event, data }) {
    const frame = data && JSON.parse(data)
    if (event === 'close') {
      this.#end(frame.code)
    } else if (event === 'welcome') {
      this.#heartbeat = frame.heartbeat || this.#heartbeat
      if (!this.#welcomed) this.#emit(frame)
      this.#welcomed = true
    } else if (!stream.joined && event === 'gap' && frame.reason === 'unrecovered') {
      stream.unrecovered.push(frame)
    } else if (!stream.joined && id != null) {
      this.#join(stream, id)
    } else if (frame) {
      if (frame.cursor) this.#move(frame.channel, { after: frame.cursor })
      this.#emit(frame)
    } else {
      this.#position(stream, id)
    }
  }

  /** The stream has begun: everything after this is new to the client. */
  #join(stream, id) {
    stream.joined = true
    const places = parseID(id)
    for (const name of stream.names) {
      const channel = this.#channels.get(name)
      if (!channel) continue
      const { ref, after, at, since, known } = channel
      const unrecovered = stream.unrecovered.find((gap) => !gap.channel || gap.channel === name)
      const recovered = !unrecovered && Boolean(after || at || since)
      const cursor = places.get(tag(name))
      if (cursor) this.#move(name, { after: cursor })
      channel.known = true
      if (!known) {
        this.#emit({ type: 'subscribed', ref, channel: name, recovered, durable: durable.has(name), cursor, spread: unrecovered?.spread })
      } else if (!recovered) {
        this.#emit({ type: 'gap', channel: name, reason: 'unrecovered', cursor, spread: unrecovered?.spread })
      }
    }
    this.#position(stream, id)
  }

  /** An id without a channel is a position on all channels of the stream. */
  #position(stream, id) {
    const at = parseID(id).get('')
    for (const name of stream.names) if (at) this.#move(name, { at })
    if (this.#welcomed) this.#emit({ type: 'heartbeat', at, channels: stream.names })
  }

  #move(name, { after, at }) {
    const channel = this.#channels.get(name)
    if (!channel) return
    channel.at = at
    if (after) channel.after = after
  }
}

/** One request, and its answer. It calls the functions of on until it is closed. */
class Stream {
  joined = false
  unrecovered = [] // the gaps before the first id

  #on
  #request = new AbortController()
  #timer
  #seen // when something arrived

  constructor(url, token, names, on) {
    this.names = names
    this.#on = on
    this.#alive()
    this.#read(url, token).catch(() => this.#ended())
  }

  close() {
    this.#on = undefined
    clearTimeout(this.#timer)
    this.#request.abort()
  }

  /** Timers stop while a page sleeps. */
  isAlive() {
    return Date.now() - this.#seen < this.#patience()
  }

  #patience() {
    return 1750 * this.#on.heartbeat()
  }

  #alive() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#ended(), this.#patience())
    this.#seen = Date.now()
  }

  #ended() {
    const on = this.#on
    if (!on) return
    this.close()
    on.ended()
  }

  async #read(url, token) {
    const response = await fetch(url, {
      headers: token ? { authorization: 'Bearer ' + token } : {},
      credentials: 'include',
      cache: 'no-store',
      signal: this.#request.signal,
    })
    if (!response.ok) {
      const text = await response.text()
      clearTimeout(this.#timer)
      this.#on?.refused(this, response.status, text)
      return
    }
    const reader = response.body.getReader()
    const decoder = new TextDecoder()
    let text = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done || !this.#on) break
      this.#alive()
      const blocks = (text + decoder.decode(value, { stream: true })).split('\n\n')
      text = blocks.pop()
      for (const block of blocks) this.#on?.block(this, parseBlock(block))
    }
    this.#ended()
  }
}

/** Adds the signatures of channels to a URL, the n-th for the n-th channel. */
function sign(url, requests) {
  for (const name of ['sig', 'user']) {
    if (requests.some((request) => request[name])) for (const request of requests) url.searchParams.append(name, request[name] || '')
  }
}

function parseBlock(text) {
  const block = {}
  for (const line of text.split('\n')) {
    const [, name, value] = line.match(/^(\w*):? ?(.*)$/s) || []
    block[name] = name === 'data' && block.data != null ? block.data + '\n' + value : value
  }
  return block
}

/** The positions in an id, by the tag of the channel. A position on all channels has no tag. */
function parseID(id) {
  const places = new Map()
  for (const place of id ? id.split(',') : []) {
    const [cursor, tag = ''] = place.split('~')
    places.set(tag, cursor)
  }
  return places
}

/** Stands for a channel in an id: its FNV-1a hash of 64 bits, folded to 48 bits, in base64url. */
function tag(channel) {
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode(channel)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  hash = (hash >> 48n) ^ (hash & 0xffffffffffffn)
  let bytes = ''
  for (let shift = 40n; shift >= 0n; shift -= 8n) bytes += String.fromCharCode(Number((hash >> shift) & 255n))
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_')
}
