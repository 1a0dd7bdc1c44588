import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { connect } from '../sidecast.mjs'
import '../sidecast-sse.mjs' // so that the client does not have to wait for it
import { Clock, fakeRelay, settle } from './fake.mjs'

// Streams are read in macrotasks.
const realSetImmediate = setImmediate
const read = async () => {
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => realSetImmediate(resolve))
    await settle()
  }
}

/** A request for a stream, and the relay's side of the answer. */
class Request {
  constructor(url, { headers, signal }, answer) {
    const { pathname, searchParams } = new URL(url)
    Object.assign(this, { url: String(url), pathname, query: searchParams, headers, signal, answer, names: searchParams.getAll('channel') })
  }

  /** Answers with a stream. */
  async open(...blocks) {
    const body = new ReadableStream({
      start: (controller) => {
        this.controller = controller
        this.signal.addEventListener('abort', () => controller.error(this.signal.reason))
      },
    })
    this.answer(new Response(body))
    await this.send('event: welcome\ndata: {"type":"welcome","session":"s","heartbeat":10}', ...blocks)
  }

  async send(...blocks) {
    for (const block of blocks) this.controller.enqueue(new TextEncoder().encode(block + '\n\n'))
    await read()
  }

  async end() {
    this.controller.close()
    await read()
  }

  async refuse(status, text) {
    this.answer(new Response(text, { status }))
    await read()
  }
}

let clock, fake, relay, requests, states

const message = (channel, data, cursor = data) => {
  return `id: ${cursor}~tag\ndata: ${JSON.stringify({ type: 'message', channel, data, cursor })}`
}

/** The requests of open streams. */
const open = () => requests.filter(({ signal }) => !signal.aborted)

function listen(name, options) {
  const events = []
  const channel = relay.channel(name, options)
  channel.on('message', (m) => events.push(m.data))
  channel.on('gap', (gap) => events.push('gap ' + gap.reason))
  channel.on('error', (error) => events.push('error ' + error.code))
  return { channel, events }
}

/** Lets two WebSockets fail. */
async function fail() {
  for (let i = 0; i < 2; i++) {
    await settle()
    fake.socket.end(1006)
    await clock.advance(states.at(-1).retryIn)
  }
  await read()
}

beforeEach(() => {
  clock = new Clock()
  fake = fakeRelay()
  requests = []
  states = []
  globalThis.fetch = (url, options) => new Promise((resolve) => requests.push(new Request(url, options, resolve)))
  relay = connect('wss://push.example/base/ws', { WebSocket: fake.Socket, sse: true, token: () => 'jwt' })
  relay.on('state', (event) => states.push(event))
})

afterEach(() => {
  relay.close()
  clock.restore()
})

test('streams replace the second WebSocket that fails', async () => {
  const a = listen('a')
  const b = listen('b')
  await fail()
  assert.equal(fake.attempts, 2)
  assert.equal(requests.length, 1)
  const [request] = requests
  assert.equal(request.url.split('?')[0], 'https://push.example/base/sse')
  assert.deepEqual(request.names, ['a', 'b'])
  assert.equal(request.query.get('format'), 'json')
  assert.equal(request.headers.authorization, 'Bearer jwt')
  await request.open('id: m1', message('a', '1'), message('b', '2'))
  assert.equal(relay.state, 'open')
  assert.deepEqual([a.events, b.events], [['1'], ['2']])
})

test('signatures are sent, the n-th for the n-th channel', async () => {
  for (const [name, options] of [['a', { sig: 's' }], ['b', {}], ['c', { sig: 't', user: '7' }]]) relay.channel(name, options)
  await fail()
  const [{ names, query }] = requests
  assert.deepEqual([names, query.getAll('sig'), query.getAll('user')], [['a', 'b', 'c'], ['s', '', 't'], ['', '', '7']])
})

test('a signature that has expired is refused alone', async () => {
  const [a, b] = [listen('a', { sig: 's' }), listen('b')]
  await fail()
  await requests[0].refuse(401, 'expired')
  assert.equal(relay.state, 'connecting')
  assert.deepEqual([requests[1].names, requests[1].query.get('sig')], [['a'], 's'])
  await requests[1].refuse(401, 'expired')
  await requests[2].open('id: m1')
  await requests[3].open('id: m1', message('b', '1'))
  assert.deepEqual([requests[3].names, a.events, b.events], [['b'], ['error unauthorized'], ['1']])
})

test('a token that has expired ends the connection, also if channels have signatures', async () => {
  listen('a', { sig: 's' })
  listen('b')
  await fail()
  await requests[0].refuse(401, 'expired')
  await requests[1].refuse(401, 'expired')
  await requests[2].refuse(401, 'expired')
  assert.deepEqual([relay.state, states.at(-1).code], ['waiting', 4401])
})

test('a token that cannot be fetched is no reason for streams', async (t) => {
  t.mock.method(console, 'error', () => {})
  relay.close()
  const before = fake.attempts
  let fetched = 0
  relay = connect('wss://push.example/ws', {
    WebSocket: fake.Socket,
    sse: true,
    async token() {
      if (++fetched < 4) throw new Error('offline')
    },
  })
  await clock.advance(10_000)
  assert.equal(fetched, 4)
  assert.equal(fake.attempts, before + 1)
})

test('WebSocket is tried again after streams, and continues where they ended', async () => {
  listen('a')
  listen('b')
  await fail()
  await requests[0].open('id: m1', message('a', '1', 'c1'), 'id: m2', message('b', '2', 'c2'))
  await requests[0].end()
  assert.equal(relay.state, 'waiting')
  await clock.advance(1000)
  assert.equal(fake.attempts, 3)
  fake.socket.welcome()
  assert.deepEqual(fake.socket.last('subscribe').channels, [
    { channel: 'a', after: 'c1', at: 'm2' },
    { channel: 'b', after: 'c2' },
  ])
})

test('a WebSocket that fails after streams is followed by streams', async () => {
  listen('a')
  await fail()
  await requests[0].open('id: m1', message('a', '1', 'c1'))
  await requests[0].end()
  await clock.advance(1000)
  fake.socket.end(1006)
  await clock.advance(2000)
  await read()
  assert.equal(fake.attempts, 3)
  assert.equal(requests[1].query.get('after'), 'c1')
})

test('the places of a list belong to their channels', async () => {
  listen('chat')
  listen('chat:42')
  await fail()
  await requests[0].open('id: a~jZELW8Yo,b~ukZkgNn7')
  await requests[0].end()
  await clock.advance(1000)
  fake.socket.welcome()
  assert.deepEqual(fake.socket.last('subscribe').channels, [
    { channel: 'chat', after: 'a' },
    { channel: 'chat:42', after: 'b' },
  ])
})

test('a channel without a place gets a gap', async () => {
  const { events } = listen('b')
  await fail()
  await requests[0].open('id: a~jZELW8Yo')
  await requests[0].end()
  await clock.advance(1000)
  fake.socket.welcome()
  fake.socket.subscribed()
  assert.deepEqual(events, ['gap unrecovered'])
})

test('a resume that failed, for one channel and for all', async () => {
  const a = listen('a')
  const b = listen('b')
  await settle()
  fake.socket.welcome()
  fake.socket.subscribed()
  fake.socket.end(1006)
  await clock.advance(1000)
  await fail()
  assert.deepEqual(requests[0].query.getAll('after'), ['start', 'start'])
  await requests[0].open('event: gap\ndata: {"type":"gap","channel":"b","reason":"unrecovered"}', 'id: m1', message('a', '1'))
  assert.deepEqual([a.events, b.events], [['1'], ['gap unrecovered']])
})

test('a channel that is added continues the others', async () => {
  const a = listen('a')
  await fail()
  await requests[0].open('id: m1', message('a', '1', 'c1'), 'id: m2')
  const b = listen('b')
  await read()
  assert.deepEqual(open().map(({ names }) => names), [['a', 'b']])
  const [, request] = requests
  assert.deepEqual([request.query.getAll('after'), request.query.getAll('at')], [['c1', ''], ['m2', '']])
  await request.open('id: m3', message('a', '2'), message('b', '3'))
  assert.deepEqual([a.events, b.events], [['1', '2'], ['3']])
  a.channel.close()
  await read()
  assert.deepEqual(open().map(({ names }) => names), [['b']])
})

test('many channels have several streams, because proxies limit the length of a URL', async () => {
  const names = Array.from({ length: 128 }, (_, i) => `room é ${i}`)
  const all = names.map((name) => listen(name))
  await settle()
  const cursor = 'c'.repeat(28)
  fake.socket.welcome()
  fake.socket.sent.forEach(({ ref, channels }) => {
    for (const { channel } of channels) fake.socket.receive({ type: 'subscribed', ref, channel, recovered: false, cursor })
  })
  fake.socket.receive({ type: 'heartbeat', at: cursor })
  fake.socket.end(1006)
  await clock.advance(1000)
  await fail()
  assert.ok(requests.length > 1)
  for (const { url } of requests) assert.ok(url.length < 8000, `${url.length}`)
  assert.deepEqual(requests.flatMap((request) => request.names), names)
  for (const request of requests) await request.open('id: m1')
  for (const request of requests) await request.send(message(request.names[0], '1'))
  assert.equal(all.flatMap(({ events }) => events).length, requests.length)
})

test('channels with another last have a stream until they have a place', async () => {
  listen('a')
  listen('b', { last: 5 })
  await fail()
  assert.deepEqual(open().map(({ names, query }) => [names, query.get('last')]), [[['a'], null], [['b'], '5']])
  for (const request of open()) await request.open('id: m1')
  listen('c')
  await read()
  assert.deepEqual(open().map(({ names }) => names), [['a', 'b', 'c']])
})

test('a heartbeat of one stream does not count for another', async () => {
  listen('a')
  listen('b', { last: 5 })
  await fail()
  const [a, b] = open()
  await a.open('id: m1')
  await b.open('id: m1', message('b', '1', 'c1'))
  await a.send('id: m9')
  await a.end()
  await clock.advance(1000)
  fake.socket.welcome()
  assert.deepEqual(fake.socket.last('subscribe').channels, [
    { channel: 'a', at: 'm9' },
    { channel: 'b', after: 'c1' },
  ])
})

test('durable channels have streams of their own', async () => {
  const a = listen('a')
  const order = listen('order:7', { since: '1-0' })
  await fail()
  await requests[0].refuse(400, 'a durable channel needs an EventSource of its own: open one for each\norder:7\n')
  assert.deepEqual(open().slice(1).map(({ names, query }) => [names, query.get('since')]), [[['a'], null], [['order:7'], '1-0']])
  const [, live, durable] = requests
  await live.open('id: m1')
  await durable.open('id: c1~xxxxxxxx', message('order:7', '1', 'c2'))
  await live.send('event: gap\ndata: {"type":"gap","reason":"redis"}')
  assert.deepEqual([a.events, order.events], [['gap redis'], ['1']])
})

test('channels that the relay does not mix have streams of their own', async () => {
  listen('x')
  listen('y')
  await fail()
  await requests[0].refuse(400, 'not together')
  await requests[1].open()
  await requests[2].open()
  assert.deepEqual(open().slice(1).map(({ names }) => names), [['x'], ['y']])
})

test('a channel that is refused does not concern the others', async () => {
  const a = listen('a')
  const b = listen('b')
  await fail()
  await requests[0].refuse(403, 'not allowed')
  await requests[1].open('id: m1')
  await requests[2].refuse(403, 'not allowed')
  await clock.advance(1000)
  assert.deepEqual([a.events, b.events], [[], ['error forbidden']])
  await requests[3].open('id: m1')
  assert.deepEqual(requests[3].names, ['a'])
  assert.equal(relay.state, 'open')
})

for (const [name, status, code] of [
  ['the token has expired', 401, 4401],
  ['the relay is overloaded', 503, 1013],
  ['the relay has no streams', 404, 1013],
]) {
  test(name, async () => {
    listen('a')
    await fail()
    await requests[0].refuse(status, 'no')
    assert.deepEqual([states.at(-1).state, states.at(-1).code], ['waiting', code])
  })
}

for (const code of [1012, 4408, 4409]) {
  test(`the relay ends the stream with ${code}`, async () => {
    const { events } = listen('a')
    await fail()
    await requests[0].open('id: m1', message('a', '1'), `event: close\ndata: {"code":${code}}`)
    assert.deepEqual(events, ['1'])
    assert.deepEqual([states.at(-1).state, states.at(-1).code], [code === 4409 ? 'closed' : 'waiting', code])
    assert.deepEqual(open(), [])
  })
}

test('a stream that is silent is dead, although another one is not', async () => {
  listen('a')
  listen('b', { last: 5 })
  await fail()
  const [a, b] = open()
  await a.open('id: m1')
  await b.open('id: m1')
  assert.equal(relay.state, 'open')
  for (let seconds = 0; seconds < 17; seconds++) {
    await clock.advance(1000)
    await a.send(':')
  }
  assert.equal(relay.state, 'open')
  await clock.advance(1000)
  assert.notEqual(relay.state, 'open')
  assert.deepEqual(open(), [])
})

test('what needs a WebSocket is rejected', async () => {
  const { channel } = listen('a')
  await fail()
  await requests[0].open('id: m1')
  await assert.rejects(channel.publish('hi'), { code: 'unavailable' })
})

test('payloads keep their lines', async () => {
  const { events } = listen('a')
  await fail()
  await requests[0].open('id: m1', message('a', 'x\n\ny: z\n', 'c1'))
  assert.deepEqual(events, ['x\n\ny: z\n'])
})

test('the state of Redis', async () => {
  listen('a')
  await fail()
  await requests[0].open('id: m1', 'event: offline\ndata: {"type":"offline","reason":"redis"}')
  assert.equal(relay.state, 'redis-offline')
})

test('closing ends the streams', async () => {
  listen('a')
  await fail()
  await requests[0].open('id: m1')
  relay.close()
  assert.deepEqual(open(), [])
})
