import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { connect } from '../sidecast.mjs'
import '../sidecast-extra.mjs' // so that it is loaded without a delay
import { Clock, fakeRelay, prepared, settle } from './fake.mjs'

let clock, fake, relay

/** Connects to the fake relay. */
function open(options) {
  relay = connect('ws://relay/ws', { WebSocket: fake.Socket, ...options })
  relay.on('state', (event) => states.push(event))
  return settle()
}

/** Opens a channel. */
function listen(name, options) {
  const channel = relay.channel(name, options)
  const events = []
  for (const event of ['message', 'gap', 'error']) {
    channel.on(event, (value) => events.push(event === 'message' ? value.data : { event, ...value }))
  }
  return { channel, events }
}

/** Connects and subscribes to a channel. */
async function subscribe(name, options, answer) {
  if (!relay) await open()
  const { channel, events } = listen(name, options)
  await settle()
  if (relay.state === 'connecting') fake.socket.welcome()
  await settle()
  fake.socket.subscribed(answer)
  await settle()
  return { channel, events }
}

/** Ends the connection and makes the next one, up to its welcome. */
async function reconnect(code = 1012) {
  fake.socket.end(code)
  await clock.advance(states.at(-1).retryIn)
  fake.socket.welcome()
  await settle()
  return fake.socket
}

const states = []
const message = (channel, data, cursor = data) => ({ type: 'message', channel, data, cursor })

beforeEach(() => {
  clock = new Clock()
  fake = fakeRelay()
  relay = undefined
  states.length = 0
})

afterEach(() => {
  relay?.close()
  clock.restore()
})

describe('connection', () => {
  // Close code -> state, and the range of the first wait; wait is the part that Math.random() = 0.5 selects.
  for (const [code, name, state, retryIn] of [
    [1001, 'the relay shuts down', 'waiting', 250],
    [1006, 'the network broke', 'waiting', 250],
    [1008, 'a rule was broken', 'waiting', 250],
    [1012, 'the relay restarts', 'waiting', 250],
    [1013, 'the relay is overloaded', 'waiting', 250],
    [4401, 'the login has expired', 'waiting', 0],
    [4403, 'the user is not allowed to connect', 'closed', undefined],
    [4408, 'the client read too slowly', 'waiting', 250],
    [4409, 'the application disconnects the user', 'closed', undefined],
    [4999, 'an unknown code', 'waiting', 250],
  ]) {
    test(`${code}: ${name}`, async () => {
      await open()
      fake.socket.welcome()
      fake.socket.end(code)
      assert.deepEqual(states.at(-1), { state, code, ...(retryIn !== undefined && { retryIn }) })
      await clock.advance(60_000)
      assert.equal(fake.attempts > 1, state === 'waiting', 'reconnects')
    })
  }

  test('the wait doubles up to 30 s, and is short again after a connection that lasted', async () => {
    await open()
    const waits = []
    for (let i = 0; i < 9; i++) {
      fake.socket.end(1006)
      waits.push(states.at(-1).retryIn)
      await clock.advance(states.at(-1).retryIn)
    }
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000])
    fake.socket.welcome()
    await clock.advance(10_000)
    fake.socket.end(1012)
    assert.equal(states.at(-1).retryIn, 250)
  })

  test('a relay that ends each connection at once does not get a storm', async () => {
    await open()
    const waits = []
    for (let i = 0; i < 3; i++) {
      fake.socket.welcome()
      fake.socket.end(1012)
      waits.push(states.at(-1).retryIn)
      await clock.advance(states.at(-1).retryIn)
    }
    assert.deepEqual(waits, [250, 500, 1000])
  })

  test('4401: a new token is used at once, once', async () => {
    let tokens = 0
    await open({ token: async () => `t${++tokens}` })
    const waits = []
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(fake.socket.protocols, ['sidecast.v1', `sidecast.token.t${i + 1}`])
      fake.socket.end(4401)
      waits.push(states.at(-1).retryIn)
      await clock.advance(states.at(-1).retryIn)
    }
    assert.deepEqual(waits, [0, 250, 500])
    fake.socket.welcome()
    fake.socket.end(4401)
    assert.equal(states.at(-1).retryIn, 1000, 'after a short connection')
    await clock.advance(1000)
    fake.socket.welcome()
    await clock.advance(2000)
    fake.socket.end(4401)
    assert.equal(states.at(-1).retryIn, 0, 'after a connection that lasted')
  })

  test('a token that cannot be fetched is fetched again later', async (t) => {
    t.mock.method(console, 'error', () => {})
    let fail = true
    await open({
      token: async () => {
        if (fail) throw new Error('offline')
        return 't'
      },
    })
    assert.equal(fake.attempts, 0)
    assert.equal(relay.state, 'waiting')
    assert.equal(console.error.mock.callCount(), 1)
    fail = false
    await clock.advance(1000)
    assert.equal(fake.attempts, 1)
  })

  test('a token that takes long leaves time for the handshake', async () => {
    await open({ token: () => new Promise((resolve) => setTimeout(resolve, 9000, 't')) })
    await clock.advance(18_000)
    fake.socket.welcome()
    assert.deepEqual([relay.state, fake.attempts], ['open', 1])
  })

  test('a handshake without an answer is given up', async () => {
    await open()
    const [first] = fake.Socket.opened
    await clock.advance(11_000)
    assert.ok(first.closed)
    assert.equal(fake.attempts, 2)
  })

  test('silence is noticed within two heartbeats, and a frame in time prevents that', async () => {
    await open()
    fake.socket.welcome({ heartbeat: 10 })
    await clock.advance(17_000)
    fake.socket.receive({ type: 'heartbeat' })
    await clock.advance(17_000)
    assert.equal(fake.attempts, 1)
    await clock.advance(3000)
    assert.equal(fake.attempts, 2)
    assert.ok(fake.Socket.opened[0].closed)
  })

  test('what a dead connection still does is ignored', async () => {
    const { channel, events } = await subscribe('a')
    const old = fake.socket
    const socket = await reconnect()
    old.receive(message('a', 'late'))
    old.end(1000)
    assert.deepEqual(events, [])
    assert.equal(relay.state, 'open')
    assert.equal(fake.socket, socket)
    channel.close()
  })

  test('the state says what the welcome says', async () => {
    await open()
    fake.socket.welcome({ user: '7', socket_id: '1.2' })
    const { state, session, user, socket_id } = states.at(-1)
    assert.deepEqual({ state, session, user, socket_id }, { state: 'open', session: 's', user: '7', socket_id: '1.2' })
  })

  test('Redis is lost and found', async () => {
    await open()
    fake.socket.welcome()
    fake.socket.receive({ type: 'offline', reason: 'redis' }, { type: 'gap', reason: 'redis' }, { type: 'gap', reason: 'redis' })
    await reconnect()
    fake.socket.end(1006)
    await clock.advance(1000)
    fake.socket.welcome({ offline: true })
    assert.deepEqual(
      states.map(({ state }) => state),
      ['open', 'redis-offline', 'open', 'waiting', 'connecting', 'open', 'waiting', 'connecting', 'redis-offline'],
    )
  })

  test('close', async () => {
    const { channel } = await subscribe('a')
    relay.close()
    assert.deepEqual(states.at(-1), { state: 'closed', code: 1000 })
    assert.ok(fake.socket.closed)
    await assert.rejects(channel.publish('x'), { code: 'unavailable' })
    await clock.advance(60_000)
    assert.equal(fake.attempts, 1)
  })

  for (const state of ['waiting', 'connecting']) {
    test(`close by a listener of the state ${state}`, async () => {
      await open({ token: () => 't' })
      relay.on('state', (event) => event.state === state && relay.close())
      fake.socket.end(1006)
      await clock.advance(500)
      assert.equal(clock.pending, 0, 'a timer keeps the process alive')
      assert.deepEqual([fake.attempts, relay.state], [1, 'closed'])
    })
  }

  test('close while the token is fetched', async () => {
    await open({ token: () => new Promise((resolve) => setTimeout(resolve, 1000, 't')) })
    relay.close()
    await clock.advance(60_000)
    assert.equal(fake.attempts, 0)
  })

  for (const [url, want] of [
    ['ws://relay/ws', 'ws://relay/ws'],
    ['https://relay/push/ws', 'wss://relay/push/ws'],
    ['http://relay:8080/ws?x=1', 'ws://relay:8080/ws?x=1'],
    [new URL('wss://relay/ws'), 'wss://relay/ws'],
  ]) {
    test(`the URL ${url}`, async () => {
      relay = connect(url, { WebSocket: fake.Socket })
      await settle()
      assert.equal(fake.socket.url, want)
    })
  }

  for (const [url, want] of [
    [undefined, 'wss://app.example/ws'],
    [null, 'wss://app.example/ws'],
    ['/push/ws', 'wss://app.example/push/ws'],
  ]) {
    test(`the URL ${url} on a page`, async (t) => {
      globalThis.location = 'https://app.example/chat/42'
      t.after(() => delete globalThis.location)
      relay = connect(url, { WebSocket: fake.Socket })
      await settle()
      assert.equal(fake.socket.url, want)
    })
  }

  test('no URL without a page', () => {
    assert.throws(() => connect(undefined, { WebSocket: fake.Socket }), TypeError)
  })
})

describe('page', () => {
  let page

  beforeEach(() => {
    page = { window: new EventTarget(), document: Object.assign(new EventTarget(), { hidden: false }) }
    globalThis.addEventListener = page.window.addEventListener.bind(page.window)
    globalThis.removeEventListener = page.window.removeEventListener.bind(page.window)
    globalThis.document = page.document
  })

  afterEach(() => {
    relay?.close()
    delete globalThis.addEventListener
    delete globalThis.removeEventListener
    delete globalThis.document
  })

  const online = () => page.window.dispatchEvent(new Event('online'))
  const visible = (now) => {
    page.document.hidden = !now
    page.document.dispatchEvent(new Event('visibilitychange'))
  }

  for (const [name, event, attempts] of [
    ['online', () => online(), 2],
    ['visible', () => visible(true), 2],
    ['hidden', () => visible(false), 1],
  ]) {
    test(`${name}: the next attempt`, async () => {
      await open()
      fake.socket.end(1006)
      event()
      await settle()
      assert.equal(fake.attempts, attempts)
    })
  }

  test('a connection that does not answer after a sleep is given up', async () => {
    await open()
    fake.socket.welcome()
    visible(true)
    assert.deepEqual(fake.socket.take(), [{ type: 'ping' }])
    fake.socket.receive({ type: 'pong' })
    await clock.advance(10_000)
    assert.equal(fake.attempts, 1)
    online()
    await clock.advance(6000)
    assert.equal(fake.attempts, 2)
  })

  test('a closed relay does not listen', async () => {
    const removed = []
    for (const target of [page.window, page.document]) {
      const remove = target.removeEventListener
      globalThis.removeEventListener = target.removeEventListener = (event, f) => (removed.push(event), remove.call(target, event, f))
    }
    await open()
    relay.close()
    assert.deepEqual(removed, ['online', 'visibilitychange'])
    online()
    visible(true)
    await clock.advance(60_000)
    assert.equal(fake.attempts, 1)
  })
})

describe('subscriptions', () => {
  test('channels of one tick are one command', async () => {
    await open()
    relay.channel('a')
    relay.channel('b', { last: 10 })
    relay.channel('c', { since: '1-0', sig: 's' })
    await settle()
    assert.deepEqual(fake.socket.sent, [], 'before the welcome')
    fake.socket.welcome()
    const channels = [{ channel: 'a' }, { channel: 'b', last: 10 }, { channel: 'c', sig: 's', since: '1-0' }]
    assert.deepEqual(fake.socket.take(), [{ type: 'subscribe', ref: 1, channels }])
    relay.channel('d')
    relay.channel('e')
    await settle()
    assert.deepEqual(fake.socket.take(), [{ type: 'subscribe', ref: 2, channels: [{ channel: 'd' }, { channel: 'e' }] }])
  })

  test('a subscribe is at most 8 KiB', async () => {
    await open()
    const names = Array.from({ length: 500 }, (_, i) => `${'é'.repeat(20)}${i}`)
    for (const name of names) relay.channel(name)
    fake.socket.welcome()
    const sent = fake.socket.take()
    assert.ok(sent.length > 3)
    for (const frame of sent) assert.ok(Buffer.byteLength(JSON.stringify(frame)) < 8300)
    assert.deepEqual(sent.flatMap(({ channels }) => channels.map(({ channel }) => channel)), names)
    assert.equal(new Set(sent.map(({ ref }) => ref)).size, sent.length)
  })

  test('a subscribe names few channels: the relay rejects the whole frame if they are too many', async () => {
    await open()
    const names = Array.from({ length: 130 }, (_, i) => `${i}`)
    for (const name of names) relay.channel(name)
    fake.socket.welcome()
    const sent = fake.socket.take()
    for (const { channels } of sent) assert.ok(channels.length <= 20)
    assert.deepEqual(sent.flatMap(({ channels }) => channels.map(({ channel }) => channel)), names)
  })

  // What the relay sends after `subscribed` -> the position with which the client resumes.
  const own = { type: 'heartbeat', at: 'h1' }
  for (const [name, frames, want] of [
    ['nothing', [], { after: 'start' }],
    ['a message', [message('a', 'm', 'c1')], { after: 'c1' }],
    ['a heartbeat', [own], { after: 'start', at: 'h1' }],
    ['a heartbeat without a place', [own, { type: 'heartbeat' }], { after: 'start', at: 'h1' }],
    ['a message after a heartbeat', [own, message('a', 'm', 'c1')], { after: 'c1' }],
    ['a heartbeat after a message', [message('a', 'm', 'c1'), own], { after: 'c1', at: 'h1' }],
    ['a gap with a cursor', [own, { type: 'gap', channel: 'a', reason: 'too_large', cursor: 'c2' }], { after: 'c2' }],
    ['a gap without a cursor', [own, { type: 'gap', channel: 'a', reason: 'reset' }], { after: 'start', at: 'h1' }],
    ['a gap of all channels', [own, { type: 'gap', reason: 'redis' }], { after: 'start', at: 'h1' }],
    ['a message of another channel', [own, message('b', 'm', 'c1')], { after: 'start', at: 'h1' }],
  ]) {
    test(`resume after ${name}`, async () => {
      await subscribe('a', { last: 5, since: '1-0' })
      fake.socket.receive(...frames)
      const socket = await reconnect()
      assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'a', ...want }])
    })
  }

  test('a heartbeat does not count for a channel that is not subscribed yet', async () => {
    await subscribe('a')
    const socket = await reconnect()
    socket.receive({ type: 'heartbeat', at: 'too early' })
    const next = await reconnect()
    assert.deepEqual(next.last('subscribe').channels, [{ channel: 'a', after: 'start' }])
  })

  test('a subscribe without an answer is repeated as it was', async () => {
    await open()
    relay.channel('a', { last: 5, since: '1-0' })
    fake.socket.welcome()
    const socket = await reconnect()
    assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'a', last: 5, since: '1-0' }])
  })

  test('closing and opening in one tick sends nothing', async () => {
    const { channel } = await subscribe('a')
    fake.socket.take()
    channel.close()
    relay.channel('a')
    await settle()
    assert.deepEqual(fake.socket.take(), [])
  })

  // The channel a is closed and opened again with options -> the commands. Without last and since, the new channel
  // continues the old one, but a position replaces it.
  for (const [name, options, commands] of [
    ['last', { last: 5 }, [{ type: 'unsubscribe', channel: 'a' }]],
    ['since', { since: '2-0' }, [{ type: 'unsubscribe', channel: 'a' }]],
    ['no position', {}, []],
  ]) {
    test(`closing and opening in one tick, with ${name}`, async () => {
      const { channel } = await subscribe('a', { last: 1 })
      fake.socket.take()
      channel.close()
      relay.channel('a', options)
      await settle()
      assert.deepEqual(fake.socket.take(), commands)
      fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
      if (commands.length) assert.deepEqual(fake.socket.take().map(({ channels }) => channels), [[{ channel: 'a', ...options }]])
      else assert.equal(fake.socket.last('subscribe'), undefined)
    })
  }

  test('a channel does not take over the options of one that is still being left', async () => {
    const { channel } = await subscribe('a', { last: 1, since: '1-0', sig: 's' })
    channel.close()
    await settle()
    relay.channel('a')
    fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a' }])
  })

  test('a channel that is closed and opened before it is requested', async () => {
    await open()
    relay.channel('a', { last: 1 }).close()
    relay.channel('a')
    fake.socket.welcome()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a' }])
  })

  test('a channel that was closed while there was no connection begins anew', async () => {
    const { channel } = await subscribe('a')
    fake.socket.end(1006)
    channel.close()
    await settle()
    const { events } = listen('a', { last: 5 })
    await clock.advance(1000)
    fake.socket.welcome()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', last: 5 }])
    fake.socket.subscribed()
    assert.deepEqual(events, [])
  })

  test('a channel that was refused can be opened again', async () => {
    const { channel, events } = await subscribe('a', { sig: 'old' })
    fake.socket.receive({ type: 'unsubscribed', channel: 'a', reason: 'expired' })
    assert.deepEqual(events.map(({ code }) => code), ['expired'])
    fake.socket.take()
    channel.close()
    relay.channel('a', { sig: 'new' })
    await settle()
    assert.deepEqual(fake.socket.take().map(({ channels }) => channels), [[{ channel: 'a', sig: 'new' }]])
  })

  test('another channel of a name that was refused asks again', async () => {
    await open()
    const first = listen('a')
    fake.socket.welcome()
    const refuse = () => fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: '', channel: 'a' })
    await settle()
    refuse()
    const second = listen('a')
    await settle()
    refuse()
    assert.deepEqual([first.events.length, second.events.length], [2, 1])
  })

  test('a new subscribe waits until the old subscription has ended', async () => {
    const { channel, events } = await subscribe('a')
    fake.socket.take()
    channel.close()
    await settle()
    const again = relay.channel('a', { last: 3 })
    const later = []
    again.on('message', (m) => later.push(m.data))
    await settle()
    assert.deepEqual(fake.socket.take(), [{ type: 'unsubscribe', channel: 'a' }])
    fake.socket.receive(message('a', 'on its way'))
    fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
    assert.deepEqual(fake.socket.take().map(({ channels }) => channels), [[{ channel: 'a', last: 3 }]])
    assert.deepEqual([events, later], [[], []])
  })

  test('an unsubscribe before the answer', async () => {
    await open()
    const channel = relay.channel('a')
    fake.socket.welcome()
    channel.close()
    await settle()
    assert.deepEqual(fake.socket.take().map(({ type }) => type), ['subscribe', 'unsubscribe'])
    fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
    await reconnect()
    assert.deepEqual(fake.socket.take(), [])
  })

  test("a user's own channel is left before it is resumed", async () => {
    const { events } = await subscribe('user:1')
    fake.socket.receive(message('user:1', 'm', 'c1'))
    const socket = await reconnect()
    socket.take()
    // The relay has subscribed the user before it read the command.
    socket.receive({ type: 'subscribed', channel: 'user:1', recovered: false, cursor: 'c9' }, message('user:1', 'later', 'c10'))
    socket.receive({ type: 'error', code: 'bad_request', channel: 'user:1', ref: 2 })
    assert.deepEqual(socket.take(), [{ type: 'unsubscribe', channel: 'user:1' }])
    socket.receive({ type: 'heartbeat', at: 'h1' })
    socket.receive({ type: 'unsubscribed', channel: 'user:1' })
    assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'user:1', after: 'c1' }])
    socket.subscribed({ recovered: true, cursor: 'c1' })
    assert.deepEqual(events, ['m'])
    socket.receive(message('user:1', 'missed', 'c5'))
    assert.deepEqual(events, ['m', 'missed'])

    // Next time, the client knows. It also finds out if the channel is not the user's own any more.
    const next = await reconnect()
    assert.deepEqual(next.take(), [{ type: 'unsubscribe', channel: 'user:1' }])
    next.receive({ type: 'error', code: 'not_subscribed', channel: 'user:1' })
    assert.deepEqual(next.last('subscribe').channels, [{ channel: 'user:1', after: 'c5' }])
  })

  test("a user's own channel that is durable is answered late", async () => {
    const { events } = await subscribe('user:1', {}, { durable: true })
    const socket = await reconnect()
    const { ref } = socket.take()[0]
    socket.receive({ type: 'error', code: 'bad_request', message: 'not answered yet', channel: 'user:1', ref })
    assert.deepEqual(socket.take(), [{ type: 'unsubscribe', channel: 'user:1' }])
    socket.receive({ type: 'subscribed', channel: 'user:1', recovered: false, cursor: 'c9', durable: true })
    socket.receive({ type: 'unsubscribed', channel: 'user:1' })
    assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'user:1', after: 'start' }])
    assert.deepEqual(events, [])
  })

  test("a user's own channel, at first", async () => {
    await open()
    let loads = 0
    const events = []
    const channel = relay.channel('user:1', { load: () => void loads++ })
    channel.on('message', (m) => events.push(m.data))
    fake.socket.welcome({ user: '1' })
    fake.socket.receive({ type: 'subscribed', channel: 'user:1', recovered: false, cursor: 'c1' })
    fake.socket.receive({ type: 'subscribed', channel: 'user:2', recovered: false, cursor: 'c1' })
    fake.socket.subscribed()
    await settle()
    fake.socket.receive(message('user:1', 'm'), message('user:2', 'm'))
    assert.deepEqual([loads, events], [1, ['m']])
    assert.deepEqual(fake.socket.sent.map(({ type }) => type), ['subscribe'])
  })

  // The relay has subscribed the user before the page opens the channel: options -> the answer.
  const repeated = { type: 'subscribed', recovered: true }
  const already = { type: 'error', code: 'bad_request', message: 'already subscribed' }
  for (const [name, options, answer] of [
    ['no position', {}, repeated],
    ['last', { last: 5 }, already],
    ['since', { since: '1-0' }, already],
  ]) {
    test(`a user's own channel that is opened later, with ${name}`, async () => {
      await open()
      fake.socket.welcome({ user: '1' })
      fake.socket.receive({ type: 'subscribed', channel: 'user:1', recovered: false, cursor: 'c1' })
      let loads = 0
      const { events } = listen('user:1', { ...options, load: () => void loads++ })
      await settle()
      const { ref } = fake.socket.take()[0]
      fake.socket.receive({ ...answer, channel: 'user:1', ref })
      assert.deepEqual(fake.socket.take(), [{ type: 'unsubscribe', channel: 'user:1' }])
      fake.socket.receive({ type: 'unsubscribed', channel: 'user:1' })
      assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'user:1', ...options }])
      fake.socket.subscribed()
      await settle()
      assert.deepEqual([loads, events], [1, []])
    })
  }

  test('a subscribe that is wrong gets an error', async () => {
    await open()
    const { events } = listen('a', { since: '1-0' })
    fake.socket.welcome()
    const answer = { type: 'error', code: 'bad_request', message: 'since is for durable channels only', channel: 'a' }
    fake.socket.answer('subscribe', answer)
    assert.deepEqual(events, [])
    fake.socket.receive({ type: 'error', code: 'not_subscribed', message: '', channel: 'a' })
    fake.socket.answer('subscribe', answer)
    await clock.advance(10_000)
    assert.deepEqual(events.map(({ code }) => code), ['bad_request'])
    assert.equal(fake.socket.sent.length, 3)
  })

  test('a channel that is refused gets an error, and is asked for again on the next connection only', async () => {
    await open()
    const a = relay.channel('a')
    const errors = []
    a.on('error', (error) => errors.push(error.code))
    const { events } = await subscribe('b')
    fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: 'no', channel: 'c' })
    assert.deepEqual(errors, [])
    relay.channel('c').on('error', (error) => errors.push(error.message))
    await settle()
    fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: 'not allowed', channel: 'c' })
    relay.channel('d')
    await clock.advance(10_000)
    assert.deepEqual(errors, ['not allowed'])
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'd' }])
    const socket = await reconnect()
    assert.deepEqual(socket.last('subscribe').channels.map(({ channel }) => channel), ['a', 'b', 'c', 'd'])
    assert.deepEqual(events, [])
  })

  test('an error of the whole command concerns all its channels', async () => {
    await open()
    const errors = []
    for (const name of ['a', 'b']) relay.channel(name).on('error', (error) => errors.push(name + error.code))
    fake.socket.welcome()
    fake.socket.answer('subscribe', { type: 'error', code: 'too_many_channels', message: '' })
    assert.deepEqual(errors, ['atoo_many_channels', 'btoo_many_channels'])
  })

  test('an error without a listener is logged', async (t) => {
    t.mock.method(console, 'error', () => {})
    await open()
    relay.channel('a')
    fake.socket.welcome()
    fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: 'not allowed', channel: 'a' })
    assert.equal(console.error.mock.calls[0].arguments[0].message, 'not allowed')
  })

  test('a subscribe that Redis delays too long is repeated', async () => {
    await open()
    const errors = []
    relay.channel('order:7').on('error', (error) => errors.push(error.code))
    fake.socket.welcome()
    fake.socket.answer('subscribe', { type: 'error', code: 'unavailable', message: '', channel: 'order:7' })
    assert.equal(fake.socket.take().length, 1)
    await clock.advance(2000)
    assert.deepEqual(fake.socket.take().map(({ type }) => type), ['subscribe'])
    assert.deepEqual(errors, ['unavailable'])
  })

  for (const reason of ['revoked', 'control']) {
    test(`the relay ends a subscription: ${reason}`, async () => {
      const { events } = await subscribe('a')
      fake.socket.take()
      fake.socket.receive({ type: 'unsubscribed', channel: 'a', reason })
      await clock.advance(10_000)
      assert.deepEqual(events.map(({ code }) => code), [reason])
      assert.deepEqual(fake.socket.take(), [])
      const socket = await reconnect()
      assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'a', after: 'start' }])
    })
  }

  describe('that the application makes', () => {
    const frame = { type: 'subscribed', channel: 'a', recovered: false, cursor: 'c1' }

    test('of a channel that is not open are reported, and a listener can open it', async () => {
      await open()
      const seen = []
      let loads = 0
      relay.on('subscribed', ({ channel }) => {
        seen.push(channel)
        if (channel === 'a') relay.channel(channel, { load: () => void loads++ }).on('message', (m) => seen.push(m.data))
      })
      fake.socket.welcome()
      fake.socket.receive({ ...frame, channel: 'b' }, message('b', 'not wanted'), frame, message('a', '1'))
      await settle()
      fake.socket.receive(frame, message('a', '2'))
      assert.deepEqual([seen, loads], [['b', 'a', '1', '2'], 1])
      assert.deepEqual(fake.socket.sent, [], 'the application may have subscribed the user to a channel without a right')
      const socket = await reconnect()
      assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'a', after: '2' }])
    })

    // How the channel was refused before -> the events.
    for (const [name, refuse, known] of [
      ['was refused', () => fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: '', channel: 'a' }), false],
      ['was ended', () => fake.socket.receive({ ...frame, ref: 1 }, { type: 'unsubscribed', channel: 'a', reason: 'control' }), true],
    ]) {
      test(`of a channel that ${name} are used`, async () => {
        await open()
        const { events } = listen('a')
        fake.socket.welcome()
        refuse()
        events.length = 0
        fake.socket.receive(frame, message('a', '1'))
        const gap = { event: 'gap', channel: 'a', reason: 'unrecovered' }
        assert.deepEqual(events, known ? [gap, '1'] : ['1'])
        assert.equal(fake.socket.sent.length, 1)
      })
    }
  })

  test('a channel that is opened by a listener gets what follows', async () => {
    await open()
    const seen = []
    const more = () => {
      if (seen.length > 9) return // instead of a loop without end
      const { length } = seen
      const channel = relay.channel('a')
      for (const event of ['message', 'gap', 'error']) channel.on(event, () => (seen.push(length + event), more()))
    }
    more()
    fake.socket.welcome()
    fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: '', channel: 'a' })
    await settle()
    fake.socket.subscribed()
    fake.socket.receive({ type: 'gap', channel: 'a', reason: 'too_large' })
    assert.deepEqual(seen, ['0error', '0gap', '1gap'])
    fake.socket.receive(message('a', '1'))
    assert.deepEqual(seen.slice(3), ['0message', '1message', '2message', '3message'])
  })

  test('a channel that is closed by a listener of another one gets nothing more', async () => {
    const { channel, events } = await subscribe('a')
    const second = listen('a')
    channel.on('message', () => second.channel.close())
    fake.socket.receive(message('a', '1'))
    assert.deepEqual([events, second.events], [['1'], []])
  })

  test('two channels with one name are independent', async () => {
    const { channel, events } = await subscribe('a')
    let loads = 0
    const second = relay.channel('a', { load: () => void loads++ })
    await settle()
    assert.equal(loads, 1)
    assert.equal(fake.socket.sent.length, 1)
    const seen = []
    second.on('message', (m) => seen.push(m.data))
    fake.socket.receive(message('a', '1'))
    channel.close()
    channel.close()
    await settle()
    fake.socket.receive(message('a', '2'))
    assert.deepEqual([events, seen], [['1'], ['1', '2']])
    second.close()
    await settle()
    assert.equal(fake.socket.sent.at(-1).type, 'unsubscribe')
  })
})

describe('messages', () => {
  test('text, JSON and bytes', async () => {
    const { channel } = await subscribe('a')
    const seen = []
    channel.on('message', (m) => seen.push(m))
    fake.socket.receive(message('a', '{"é":1}', 'c1'), { type: 'message', channel: 'a', base64: '/wBh', cursor: 'c2' })
    assert.deepEqual(seen[0].json(), { é: 1 })
    assert.deepEqual([...seen[0].bytes()], [...Buffer.from('{"é":1}')])
    assert.deepEqual([seen[1].data, [...seen[1].bytes()], seen[1].cursor, seen[1].channel], ['\ufffd\0a', [255, 0, 97], 'c2', 'a'])
  })

  test('a listener that fails does not disturb the others', async (t) => {
    const { channel, events } = await subscribe('a')
    const thrown = []
    t.mock.method(globalThis, 'queueMicrotask', (f) => {
      try {
        f()
      } catch (error) {
        thrown.push(error.message)
      }
    })
    channel.on('message', () => {
      throw new Error('a mistake of the page')
    })
    const later = []
    channel.on('message', (m) => later.push(m.data))
    fake.socket.receive(message('a', '1'), message('a', '2'))
    assert.deepEqual([events, later], [['1', '2'], ['1', '2']])
    assert.deepEqual(thrown, ['a mistake of the page', 'a mistake of the page'])
  })

  test('off removes one listener', async () => {
    const { channel } = await subscribe('a')
    const seen = []
    const listener = (m) => seen.push(m.data)
    const off = channel.on('message', listener)
    channel.on('message', listener)
    fake.socket.receive(message('a', '1'))
    off()
    off()
    fake.socket.receive(message('a', '2'))
    assert.deepEqual(seen, ['1', '1', '2'])
  })

  test('iteration ends when the channel is closed, after what has arrived', async () => {
    const { channel } = await subscribe('a')
    const seen = []
    const loop = (async () => {
      for await (const m of channel) seen.push(m.data)
    })()
    fake.socket.receive(message('a', '1'), message('a', '2'))
    await settle()
    fake.socket.receive(message('a', '3'), message('a', '4'))
    channel.close()
    await loop
    assert.deepEqual(seen, ['1', '2', '3', '4'])
  })

  test('a channel of a closed relay is closed', async () => {
    await open()
    relay.close()
    for await (const m of relay.channel('a')) assert.fail(m.data)
  })

  test('iteration can end by itself, and ends with the connection', async () => {
    const { channel } = await subscribe('a')
    setTimeout(() => fake.socket.receive(message('a', '1'), message('a', '2')), 1000)
    void clock.advance(1000)
    for await (const m of channel) {
      assert.equal(m.data, '1')
      break
    }
    const loop = (async () => {
      for await (const m of channel) assert.fail(m.data)
    })()
    fake.socket.end(4403)
    await loop
  })
})

describe('publish', () => {
  for (const [name, data, want] of [
    ['text', 'hi', { data: 'hi' }],
    ['an object', { a: [1] }, { data: '{"a":[1]}' }],
    ['a number', 1, { data: '1' }],
    ['null', null, { data: 'null' }],
    ['bytes', new Uint8Array([255, 0, 97]), { base64: '/wBh' }],
    ['a part of bytes', new Uint8Array([1, 255, 0, 97, 1]).subarray(1, 4), { base64: '/wBh' }],
    ['a buffer', new Uint8Array([255, 0, 97]).buffer, { base64: '/wBh' }],
    ['bytes of another window', runInNewContext('new Uint8Array([255, 0, 97])'), { base64: '/wBh' }],
    ['a buffer of another window', runInNewContext('new Uint8Array([255, 0, 97]).buffer'), { base64: '/wBh' }],
    ['no bytes', new Uint8Array(0), { base64: '' }],
    ['many bytes', new Uint8Array(300_000), { base64: 'A'.repeat(400_000) }],
  ]) {
    test(name, async () => {
      const { channel } = await subscribe('a')
      const published = channel.publish(data)
      const { ref, ...command } = fake.socket.last('publish')
      assert.deepEqual(command, { type: 'publish', channel: 'a', ...want })
      fake.socket.receive({ type: 'ok', ref })
      await published
    })
  }

  test('before the connection is open', async () => {
    await open()
    const published = relay.channel('a').publish('hi', { echo: false })
    await settle()
    fake.socket.welcome()
    const [subscribe, { ref, ...command }] = fake.socket.take()
    assert.equal(subscribe.type, 'subscribe') // first, so that the channel receives the message
    assert.deepEqual(command, { type: 'publish', channel: 'a', data: 'hi', echo: false })
    fake.socket.receive({ type: 'ok', ref })
    await published
  })

  test('by a listener of the state', async () => {
    const { channel } = await subscribe('a')
    relay.on('state', ({ state }) => state === 'open' && channel.publish('hi').catch(() => {}))
    const socket = await reconnect()
    assert.deepEqual(socket.take().map(({ type }) => type), ['subscribe', 'publish'])
  })

  test('on a channel that was opened in the same tick', async () => {
    await open()
    fake.socket.welcome()
    relay.channel('a').publish('hi').catch(() => {})
    await settle()
    assert.deepEqual(fake.socket.take().map(({ type }) => type), ['subscribe', 'publish'])
  })

  test('the relay refuses', async () => {
    const { channel, events } = await subscribe('a')
    const published = channel.publish('hi')
    fake.socket.answer('publish', { type: 'error', code: 'forbidden', message: 'publishing is not allowed' })
    await assert.rejects(published, { code: 'forbidden', message: 'publishing is not allowed' })
    assert.deepEqual(events, [])
  })

  test('the connection ends before the answer', async () => {
    const { channel } = await subscribe('a')
    const published = [channel.publish('1')]
    fake.socket.end(1006)
    published.push(channel.publish('2'))
    for (const [i, code] of [[0, 'unavailable']]) await assert.rejects(published[i], { code })
    // The second one waits for the next connection, and is not sent twice.
    await clock.advance(1000)
    fake.socket.welcome()
    assert.deepEqual(fake.socket.take().filter(({ type }) => type === 'publish').map(({ data }) => data), ['2'])
    fake.socket.end(1006)
    await assert.rejects(published[1], { code: 'unavailable' })
  })

  test('the rate is exceeded', async () => {
    const { channel } = await subscribe('a')
    const all = ['1', '2', '3'].map((data) => channel.publish(data))
    const [first, second] = fake.socket.take().filter(({ type }) => type === 'publish')
    fake.socket.receive({ type: 'ok', ref: first.ref }, { type: 'error', code: 'rate_limited', ref: second.ref, message: '' })
    await all[0]
    // The relay reports only one of them.
    await assert.rejects(all[1], { code: 'rate_limited' })
    await assert.rejects(all[2], { code: 'rate_limited' })
    assert.equal(relay.state, 'open')
  })

  test('the rate is exceeded while a subscription changes', async () => {
    const { channel } = await subscribe('a')
    channel.close()
    await settle()
    fake.socket.receive({ type: 'error', code: 'rate_limited', channel: 'a', message: '' })
    assert.equal(relay.state, 'waiting')
  })
})

describe('members', () => {
  const ann = { user: 'ann', info: { name: 'Ann' } }
  const bob = { user: 'bob' }
  const join = (member, count) => ({ type: 'join', channel: 'a', ...member, count })
  const leave = (user, count) => ({ type: 'leave', channel: 'a', user, count })

  /** Opens a channel with presence, and records what a page sees. */
  function watch(options) {
    const channel = relay.channel('a', { presence: true, ...options })
    const events = []
    channel.on('members', (members) => events.push(['members', [...members.keys()].join(), members.count]))
    channel.on('join', ({ user, info, count }) => events.push(['join', user, info, count, channel.members.size]))
    channel.on('leave', ({ user, info, count }) => events.push(['leave', user, info, count, channel.members.size]))
    channel.on('error', ({ code }) => events.push(['error', code]))
    return { channel, events }
  }

  /** Opens the channel, subscribed with Ann as the only member. */
  async function open1() {
    await open()
    fake.socket.welcome()
    const watched = watch()
    await prepared()
    fake.socket.subscribed({ members: [ann], count: 1 })
    return watched
  }

  test('are requested, and reported when the channel is subscribed', async () => {
    await open()
    const { channel, events } = watch()
    assert.deepEqual([[...channel.members], channel.members.count], [[], undefined])
    fake.socket.welcome()
    assert.deepEqual(fake.socket.sent, [])
    await prepared()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', presence: true }])
    fake.socket.subscribed({ members: [ann, bob], count: 2 })
    assert.deepEqual([...channel.members], [['ann', { name: 'Ann' }], ['bob', undefined]])
    assert.deepEqual(events, [['members', 'ann,bob', 2]])
  })

  test('join and leave', async () => {
    const { channel, events } = await open1()
    fake.socket.receive(join(bob, 2), leave('ann', 1))
    assert.deepEqual(events.slice(1), [['join', 'bob', undefined, 2, 2], ['leave', 'ann', { name: 'Ann' }, 1, 1]])
    assert.deepEqual([[...channel.members.keys()], channel.members.count], [['bob'], 1])
  })

  // A frame with all members, or with their number -> what the map contains.
  for (const [name, frame, want] of [
    ['after an outage of Redis', { members: [bob], count: 1 }, ['members', 'bob', 1]],
    ['none', { members: [], count: 0 }, ['members', '', 0]],
    ['more than the relay reports', { count: 1001 }, ['members', '', 1001]],
    ['a part of them', { members: [bob], count: 1001 }, ['members', '', 1001]],
  ]) {
    test(`are replaced as a whole: ${name}`, async () => {
      const { events } = await open1()
      fake.socket.receive({ type: 'members', channel: 'a', ...frame })
      assert.deepEqual(events.slice(1), [want])
    })
  }

  test('are kept while there is no connection, and replaced by the next answer', async () => {
    const { channel, events } = await open1()
    fake.socket.end(1012)
    await clock.advance(states.at(-1).retryIn)
    assert.deepEqual([...channel.members.keys()], ['ann'])
    fake.socket.welcome()
    await prepared()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', presence: true, after: 'start' }])
    fake.socket.subscribed({ recovered: true, members: [bob], count: 1 })
    assert.deepEqual(events.slice(1), [['members', 'bob', 1]])
  })

  test('are not known over a transport that does not report them', async () => {
    const { channel } = await open1()
    fake.socket.receive({ type: 'subscribed', channel: 'a', cursor: 'c', ref: 1 })
    assert.deepEqual([[...channel.members], channel.members.count], [[], undefined])
  })

  test('are reported to a channel that is opened later', async () => {
    await open1()
    const { channel, events } = watch()
    await settle()
    assert.deepEqual(events, [['members', 'ann', 1]])
    assert.deepEqual([...channel.members.keys()], ['ann'])
    assert.equal(fake.socket.sent.length, 1)
  })

  test('of a channel that is opened with presence later: it is resumed with presence', async () => {
    const { events } = await subscribe('a')
    fake.socket.receive(message('a', '1', 'c1'))
    const watched = watch()
    fake.socket.receive(message('a', '2', 'c2'))
    assert.deepEqual(fake.socket.last('unsubscribe'), { type: 'unsubscribe', channel: 'a' })
    fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
    await prepared()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', after: 'c1', presence: true }])
    fake.socket.subscribed({ recovered: true, cursor: 'c1', members: [ann], count: 1 })
    fake.socket.receive(message('a', '2', 'c2'))
    assert.deepEqual([events, watched.events], [['1', '2'], [['members', 'ann', 1]]])
  })

  test('of channels that are opened in one tick are requested once', async () => {
    await open()
    fake.socket.welcome()
    relay.channel('a')
    watch()
    await prepared()
    assert.deepEqual(fake.socket.sent.map(({ channels }) => channels), [[{ channel: 'a', presence: true }]])
  })

  test("a user's own channel is left first, because it was subscribed without presence", async () => {
    await open()
    watch()
    fake.socket.welcome()
    fake.socket.receive({ type: 'subscribed', channel: 'a', recovered: false, cursor: 'c9' })
    assert.deepEqual(fake.socket.take(), [{ type: 'unsubscribe', channel: 'a' }])
    fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
    await prepared()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', presence: true }])
  })

  test('frames for a channel without presence, or without a channel, change nothing', async () => {
    const { events } = await subscribe('a')
    fake.socket.receive(join(bob, 2), leave('bob', 1), { type: 'join', channel: 'b', user: 'x' })
    assert.deepEqual(events, [])
  })

  test('an anonymous client gets an error', async () => {
    await open()
    const { events } = watch()
    fake.socket.welcome()
    await prepared()
    fake.socket.answer('subscribe', { type: 'error', code: 'unauthorized', message: 'log in', channel: 'a' })
    assert.deepEqual(events, [['error', 'unauthorized']])
  })
})

describe('signatures', () => {
  const channels = () => fake.socket.take().map(({ channels }) => channels)

  /** Returns a function that counts, and ends when the test says so. */
  function controlled() {
    const calls = []
    const sig = (name) => new Promise((resolve, reject) => calls.push({ name, resolve, reject, at: clock.now }))
    return { sig, calls }
  }

  test('a text is sent with its user', async () => {
    await open()
    relay.channel('a', { sig: 's', user: '7' })
    fake.socket.welcome()
    assert.deepEqual(channels(), [[{ channel: 'a', sig: 's', user: '7' }]])
  })

  test('a function is called for each connection', async () => {
    await open()
    let n = 0
    relay.channel('a', { sig: (name) => `${name}${++n}`, last: 5 })
    relay.channel('b')
    fake.socket.welcome()
    assert.deepEqual(channels(), [[{ channel: 'b' }]], 'other channels do not wait')
    await prepared()
    assert.deepEqual(channels(), [[{ channel: 'a', sig: 'a1', last: 5 }]])
    fake.socket.receive({ type: 'subscribed', channel: 'a', ref: 2, recovered: false, cursor: 'c1' })
    await reconnect()
    await prepared()
    assert.deepEqual(channels().at(-1), [{ channel: 'a', sig: 'a2', after: 'c1' }])
  })

  test('a signature that has expired is renewed, and the channel resumes', async () => {
    let n = 0
    await open()
    fake.socket.welcome()
    const { events } = listen('a', { sig: async () => `s${++n}` })
    await prepared()
    fake.socket.subscribed()
    fake.socket.receive(message('a', '1', 'c1'))
    fake.socket.receive({ type: 'unsubscribed', channel: 'a', reason: 'expired' })
    await prepared()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', sig: 's2', after: 'c1' }])
    fake.socket.subscribed({ recovered: true, cursor: 'c1' })
    fake.socket.receive(message('a', '2', 'c2'))
    assert.deepEqual(events, ['1', '2'])
  })

  test('a right without a signature that has expired is asked for again', async () => {
    const { events } = await subscribe('a')
    fake.socket.receive({ type: 'unsubscribed', channel: 'a', reason: 'expired' })
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', after: 'start' }])
    fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: 'no', channel: 'a' })
    assert.deepEqual(events.map(({ code }) => code), ['forbidden'])
  })

  test('a function that fails is called again with the back-off', async () => {
    const { sig, calls } = controlled()
    await open()
    fake.socket.welcome()
    const { events } = listen('a', { sig })
    const waits = []
    for (let i = 0; i < 8; i++) {
      await prepared()
      calls[i].reject(new Error('503'))
      await settle()
      const failed = clock.now
      for (let s = 0; s < 16; s++) {
        await clock.advance(1000)
        fake.socket.receive({ type: 'heartbeat' })
        await prepared()
      }
      waits.push(calls[i + 1].at - failed)
      assert.equal(calls.length, i + 2)
    }
    assert.deepEqual(events.map(({ event }) => event), Array(8).fill('error'))
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000])
    calls[8].resolve('s')
    await prepared()
    assert.deepEqual(channels(), [[{ channel: 'a', sig: 's' }]])
    fake.socket.receive({ type: 'subscribed', channel: 'a', ref: 1, recovered: false })
    fake.socket.receive({ type: 'unsubscribed', channel: 'a', reason: 'expired' })
    await prepared()
    calls[9].reject(new Error('503'))
    await prepared()
    await clock.advance(250)
    await prepared()
    assert.equal(calls.length, 11, 'the back-off has begun anew')
  })

  test('a signature that is refused gets an error, and the function is not called again', async () => {
    let n = 0
    await open()
    fake.socket.welcome()
    const { events } = listen('a', { sig: () => `s${++n}` })
    await prepared()
    fake.socket.answer('subscribe', { type: 'error', code: 'forbidden', message: 'no', channel: 'a' })
    await clock.advance(10_000)
    await prepared()
    assert.deepEqual([events.map(({ code }) => code), n], [['forbidden'], 1])
  })

  test('a function that fails for good is called again on the next connection', async () => {
    let n = 0
    await open()
    fake.socket.welcome()
    const { events } = listen('a', { sig: () => Promise.reject(Object.assign(new Error('no'), { final: true, n: ++n })) })
    await prepared()
    for (let i = 0; i < 3; i++) {
      await clock.advance(20_000)
      fake.socket.receive({ type: 'heartbeat' })
    }
    await prepared()
    assert.deepEqual(events.map(({ n }) => n), [1])
    await reconnect()
    await prepared()
    assert.deepEqual(events.map(({ n }) => n), [1, 2])
  })

  test('signatures that arrive together are one command', async () => {
    const { sig, calls } = controlled()
    await open()
    fake.socket.welcome()
    for (const name of ['a', 'b', 'c']) relay.channel(name, { sig })
    await prepared()
    calls[0].resolve('s1')
    calls[1].resolve('s2')
    await prepared()
    calls[2].resolve('s3')
    await prepared()
    assert.deepEqual(channels().map((entries) => entries.map(({ sig }) => sig)), [['s1', 's2'], ['s3']])
  })

  test('a signature may have several fields', async () => {
    await open()
    const signatures = [{ auth: 'k:1', channel_data: 'x' }, 's', { auth: 'k:2' }, undefined]
    relay.channel('a', { sig: () => signatures.shift() })
    fake.socket.welcome()
    await prepared()
    const seen = channels()
    for (let n = 0; n < 3; n++) {
      await reconnect()
      await prepared()
      seen.push(...channels())
    }
    assert.deepEqual(seen, [
      [{ channel: 'a', auth: 'k:1', channel_data: 'x' }], [{ channel: 'a', sig: 's' }], [{ channel: 'a', auth: 'k:2' }], [{ channel: 'a' }],
    ])
  })

  test('a signature that has expired on its way is renewed later', async () => {
    let n = 0
    await open()
    fake.socket.welcome()
    const { events } = listen('a', { sig: () => `s${++n}` })
    await prepared()
    fake.socket.answer('subscribe', { type: 'error', code: 'unauthorized', message: 'expired', channel: 'a' })
    await clock.advance(1000)
    await prepared()
    assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', sig: 's2' }])
    assert.deepEqual(events.map(({ code }) => code), ['unavailable'])
  })

  test('a text that has expired is not sent again', async () => {
    await open()
    fake.socket.welcome()
    const { events } = listen('a', { sig: 's' })
    await settle()
    fake.socket.answer('subscribe', { type: 'error', code: 'unauthorized', message: 'expired', channel: 'a' })
    await clock.advance(10_000)
    assert.deepEqual([events.map(({ code }) => code), fake.socket.sent.length], [['unauthorized'], 1])
  })

  // What happens while the function runs -> the signatures that are sent later.
  for (const [name, act, want] of [
    ['the channel is closed', ({ channel }) => channel.close(), []],
    ['the relay is closed', () => relay.close(), []],
    ['the connection ends', () => reconnect(), ['the newest']],
  ]) {
    test(`${name} while the function runs`, async () => {
      const { sig, calls } = controlled()
      await open()
      fake.socket.welcome()
      const { channel, events } = listen('a', { sig })
      await prepared()
      await act({ channel })
      await prepared()
      calls[1]?.resolve('the newest')
      await prepared()
      calls[0].reject(new Error('too late'))
      await prepared()
      const sent = fake.Socket.opened.flatMap(({ sent }) => sent).flatMap(({ channels }) => channels)
      assert.deepEqual([sent.map(({ sig }) => sig), events], [want, []])
      relay.close()
      assert.equal(clock.pending, 0)
    })
  }

  test('a pending attempt does not keep a process alive', async () => {
    await open()
    fake.socket.welcome()
    listen('a', { sig: () => Promise.reject(new Error('503')) })
    await prepared()
    assert.equal(clock.pending, 2)
    relay.close()
    assert.equal(clock.pending, 0)
  })

  test('a pending attempt does not disturb a channel that was opened meanwhile', async () => {
    let n = 0
    await open()
    fake.socket.welcome()
    const sig = async () => {
      if (!n++) throw new Error('503')
      return 's'
    }
    listen('a', { sig })
    await prepared()
    listen('a')
    await prepared()
    fake.socket.subscribed()
    fake.socket.take()
    await clock.advance(10_000)
    await prepared()
    assert.deepEqual(fake.socket.take(), [])
  })
})

describe('gap', () => {
  test('the first subscribe has no gap', async () => {
    const { events } = await subscribe('a')
    assert.deepEqual(events, [])
  })

  for (const [name, answer, want] of [
    ['recovered', { recovered: true }, []],
    ['not recovered', { recovered: false }, [{ event: 'gap', channel: 'a', reason: 'unrecovered' }]],
  ]) {
    test(`a resume that is ${name}`, async () => {
      const { events } = await subscribe('a')
      const socket = await reconnect()
      socket.subscribed(answer)
      assert.deepEqual(events, want)
    })
  }

  test('a channel that never had a cursor, because the relay keeps no history', async () => {
    const { events } = await subscribe('a', { last: 1 }, { cursor: undefined })
    const socket = await reconnect()
    assert.deepEqual(socket.last('subscribe').channels, [{ channel: 'a' }])
    socket.subscribed({ cursor: undefined })
    assert.deepEqual(events, [{ event: 'gap', channel: 'a', reason: 'unrecovered' }])
  })

  test('a gap without a channel concerns all live channels that are subscribed', async () => {
    const live = await subscribe('a')
    const durable = await subscribe('order:7', {}, { durable: true })
    const pending = []
    relay.channel('b').on('gap', (gap) => pending.push(gap))
    await settle()
    fake.socket.receive({ type: 'gap', reason: 'redis' })
    assert.deepEqual(live.events, [{ event: 'gap', channel: undefined, reason: 'redis' }])
    assert.deepEqual([durable.events, pending], [[], []])
  })

  test('a gap of one channel', async () => {
    const a = await subscribe('a')
    const b = await subscribe('b')
    fake.socket.receive({ type: 'gap', channel: 'b', reason: 'too_large', cursor: 'c1' })
    fake.socket.receive({ type: 'gap', channel: 'unknown', reason: 'too_large', cursor: 'c1' })
    assert.deepEqual([a.events, b.events], [[], [{ event: 'gap', channel: 'b', reason: 'too_large' }]])
  })
})

describe('load', () => {
  let loads

  /** Returns a load that counts, and ends when the test says so. */
  const controlled = () => {
    loads = []
    return () => new Promise((resolve, reject) => loads.push({ resolve, reject, at: clock.now }))
  }

  test('holds messages while it runs', async () => {
    const { events } = await subscribe('a', { load: controlled() })
    fake.socket.receive(message('a', '1'), message('a', '2'))
    await clock.advance(1000)
    assert.deepEqual([loads.length, events], [1, []])
    loads[0].resolve()
    await settle()
    assert.deepEqual(events, ['1', '2'])
    fake.socket.receive(message('a', '3'))
    assert.deepEqual(events, ['1', '2', '3'])
    assert.equal(loads.length, 1)
  })

  // The answer to the first subscribe -> whether load runs.
  for (const [name, options, answer, runs] of [
    ['no position', {}, { recovered: false }, 1],
    ['last', { last: 10 }, { recovered: false }, 1],
    ['since, recovered', { since: '1-0' }, { recovered: true }, 0],
    ['since, not recovered', { since: '1-0' }, { recovered: false }, 1],
  ]) {
    test(`at first, with ${name}`, async () => {
      await subscribe('a', { ...options, load: controlled() }, answer)
      assert.equal(loads.length, runs)
    })
  }

  test('at first, for channels of one name of which only the first begins at its since', async () => {
    await open()
    const runs = []
    for (const since of ['1-0', '1-0', '2-0', undefined]) relay.channel('a', { since, load: () => runs.push(since) })
    fake.socket.welcome()
    fake.socket.subscribed({ recovered: true })
    await settle()
    assert.deepEqual(runs, ['2-0', undefined])
  })

  test('does not run after a resume that recovered', async () => {
    await subscribe('a', { load: controlled() })
    loads[0].resolve()
    await settle()
    const socket = await reconnect()
    socket.subscribed({ recovered: true })
    await clock.advance(60_000)
    assert.equal(loads.length, 1)
  })

  test('a gap while it runs makes it run again, after it', async () => {
    const { events } = await subscribe('a', { load: controlled() })
    fake.socket.receive(message('a', '1'), { type: 'gap', channel: 'a', reason: 'too_large' })
    await clock.advance(1000)
    assert.deepEqual([loads.length, events.length], [1, 1])
    loads[0].resolve()
    await clock.advance(1000)
    assert.equal(loads.length, 2)
    loads[1].resolve()
    await clock.advance(60_000)
    assert.deepEqual([loads.length, events.at(-1)], [2, '1'])
  })

  for (const [name, frame, spread] of [
    ['a gap', { type: 'gap', reason: 'redis', spread: 30_000 }, 30_000],
    ['a gap without a spread', { type: 'gap', reason: 'redis' }, 0],
  ]) {
    test(`waits for a part of the spread after ${name}, without holding messages`, async () => {
      const { events } = await subscribe('a', { load: controlled() })
      loads[0].resolve()
      await settle()
      const began = clock.now
      fake.socket.receive(frame)
      await settle()
      fake.socket.receive({ type: 'gap', reason: 'redis' }) // the run that waits covers this one
      if (spread) fake.socket.receive(message('a', '1'))
      if (spread) assert.equal(events.at(-1), '1')
      for (let i = 0; i < 10; i++) {
        await clock.advance(spread / 10)
        fake.socket.receive({ type: 'heartbeat' })
      }
      assert.equal(loads[1].at - began, spread / 2)
      fake.socket.receive(message('a', '2'))
      assert.notEqual(events.at(-1), '2')
      loads[1].resolve()
      await settle()
      assert.equal(events.at(-1), '2')
    })
  }

  test('waits for a part of the spread of a resume that failed', async () => {
    await subscribe('a', { load: controlled() })
    loads[0].resolve()
    await settle()
    const socket = await reconnect()
    socket.subscribed({ recovered: false, spread: 10_000 })
    const began = clock.now
    await clock.advance(9000)
    assert.equal(loads[1].at - began, 5000)
  })

  test('a failure is reported after the messages, and it runs again with the back-off', async () => {
    const { events } = await subscribe('a', { load: controlled() })
    fake.socket.receive(message('a', '1'))
    const waits = []
    for (let i = 0; i < 9; i++) {
      loads[i].reject(new Error('503'))
      const failed = clock.now
      for (let s = 0; s < 16; s++) {
        await clock.advance(1000)
        fake.socket.receive({ type: 'heartbeat' })
      }
      waits.push(loads[i + 1].at - failed)
    }
    assert.deepEqual([events[0], events[1].event], ['1', 'error'])
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000])
  })

  test('too many messages are discarded, and it runs once more', async () => {
    const { events } = await subscribe('a', { load: controlled() })
    for (let i = 0; i < 1500; i++) fake.socket.receive(message('a', `${i}`))
    loads[0].resolve()
    await clock.advance(1000)
    assert.deepEqual([events, loads.length], [[], 2])
    fake.socket.receive(message('a', 'new'))
    loads[1].resolve()
    await clock.advance(1000)
    assert.deepEqual([events, loads.length], [['new'], 2])
  })

  test('1,000 messages are kept', async () => {
    const { events } = await subscribe('a', { load: controlled() })
    for (let i = 0; i < 1000; i++) fake.socket.receive(message('a', `${i}`))
    loads[0].resolve()
    await clock.advance(1000)
    assert.deepEqual([events.length, loads.length], [1000, 1])
  })

  test('runs after the page has the channel, also if it is subscribed to already', async () => {
    await subscribe('a')
    let loaded
    const channel = relay.channel('a', { load: () => (loaded = channel) })
    const events = []
    channel.on('error', (error) => events.push(error.message))
    await settle()
    assert.deepEqual(events, [])
    assert.equal(loaded, channel)
  })

  test('a channel that is closed by a held message gets no more of them', async () => {
    const { channel, events } = await subscribe('a', { load: controlled() })
    channel.on('message', () => channel.close())
    fake.socket.receive(message('a', '1'), message('a', '2'))
    loads[0].resolve()
    await settle()
    assert.deepEqual(events, ['1'])
  })

  test('a closed channel has no timer', async () => {
    const { channel } = await subscribe('a', { load: controlled() })
    loads[0].resolve()
    await settle()
    fake.socket.receive({ type: 'gap', reason: 'redis', spread: 60_000 })
    relay.close()
    assert.equal(clock.pending, 0)
    await clock.advance(60_000)
    assert.equal(loads.length, 1)
    channel.close()
  })

  test('runs once for a channel that was opened before a resume failed', async () => {
    await subscribe('a')
    fake.socket.end(1012)
    const { events } = listen('a', { load: controlled() })
    await clock.advance(states.at(-1).retryIn)
    fake.socket.welcome()
    fake.socket.subscribed()
    await settle()
    loads[0].resolve()
    await clock.advance(10_000)
    assert.equal(loads.length, 1)
    assert.equal(events.length, 1)
  })

  test('a closed channel does not load', async () => {
    const { channel, events } = await subscribe('a', { load: controlled() })
    fake.socket.receive(message('a', '1'))
    channel.close()
    loads[0].reject(new Error('late'))
    await clock.advance(60_000)
    assert.deepEqual([events, loads.length], [[], 1])
  })

  test('5,000 clients and one gap: at most 250 loads in each second', async () => {
    clock.restore()
    clock = new Clock({ random: null })
    const perSecond = {}
    const clients = Array.from({ length: 5000 }, () => {
      const fake = fakeRelay()
      const relay = connect('ws://relay/ws', { WebSocket: fake.Socket })
      let first = true
      relay.channel('a', {
        load: async () => {
          const second = Math.floor(clock.now / 1000)
          if (!first) perSecond[second] = (perSecond[second] || 0) + 1
          first = false
        },
      })
      return { fake, relay }
    })
    await settle()
    for (const { fake } of clients) {
      fake.socket.welcome({ heartbeat: 100 })
      fake.socket.subscribed()
    }
    await settle()
    for (const { fake } of clients) fake.socket.receive({ type: 'gap', reason: 'redis', spread: 30_000 })
    await clock.advance(31_000)
    for (const { relay } of clients) relay.close()
    const counts = Object.values(perSecond)
    assert.equal(counts.reduce((sum, n) => sum + n), 5000)
    assert.ok(Math.max(...counts) <= 250, `${Math.max(...counts)} loads in one second`)
  })
})
