// The application signs the subscriptions of Echo's private and presence channels.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { SidecastConnector } from '../sidecast-echo.mjs'
import '../sidecast-extra.mjs' // so that it is loaded without a delay
import { Clock, fakeRelay, prepared, settle } from './fake.mjs'

const real = { fetch: globalThis.fetch, error: console.error }

let fake, echo, clock, requests, errors, logged

/** Answers requests as the test says, or like Laravel. */
function answerLater(url, { body, headers, signal, ...more }) {
  const { socket_id: socket, channel_name: channel, ...params } = Object.fromEntries(body)
  const request = { url, socket, channel, params, headers: Object.fromEntries(headers), signal, ...more }
  requests.push(request)
  return new Promise((resolve, reject) => {
    request.fail = reject
    request.answer = (status, text) => resolve(new Response(text, { status }))
    request.sign = (more) => request.answer(200, JSON.stringify({ auth: `key:${socket} ${channel}`, ...more }))
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

function open(options) {
  echo = new SidecastConnector({ url: 'ws://relay/ws', WebSocket: fake.Socket, ...options })
}

async function connected(socket) {
  await settle()
  fake.socket.welcome({ socket_id: socket })
  await later()
}

/** Lets modules, fetch and the clock go on. */
async function later(ms = 0) {
  await prepared()
  await clock.advance(ms)
  await prepared()
}

function subscribe(channel) {
  return channel.error((error) => errors.push(error))
}

/** The entries of all subscribes since the last call. */
const entries = () => fake.socket.take().filter(({ type }) => type === 'subscribe').flatMap(({ channels }) => channels)

beforeEach(() => {
  fake = fakeRelay()
  clock = new Clock()
  requests = []
  errors = []
  logged = []
  globalThis.fetch = answerLater
  console.error = (...values) => logged.push(values)
})

afterEach(() => {
  echo.disconnect()
  assert.equal(clock.pending, 0)
  clock.restore()
  globalThis.fetch = real.fetch
  console.error = real.error
  assert.deepEqual(logged, [])
})

test('a subscribe waits for its signature', async () => {
  open()
  echo.channel('orders')
  subscribe(echo.privateChannel('a'))
  subscribe(echo.presenceChannel('b'))
  await connected('1.2')
  assert.deepEqual(entries(), [{ channel: 'orders' }])
  assert.deepEqual(
    requests.map(({ url, method, credentials, socket, channel, params, headers }) => [url, method, credentials, socket, channel, params, headers]),
    ['private-a', 'presence-b'].map((name) => [
      '/broadcasting/auth', 'POST', 'same-origin', '1.2', name, {}, { accept: 'application/json' },
    ]),
  )
  requests[0].sign()
  requests[1].sign({ channel_data: '{"user_id":7}', shared_secret: 'not for the relay' })
  await later()
  assert.deepEqual(entries(), [
    { channel: 'private-a', auth: 'key:1.2 private-a' },
    { channel: 'presence-b', presence: true, auth: 'key:1.2 presence-b', channel_data: '{"user_id":7}' },
  ])
})

test('the options are those of Echo', async () => {
  globalThis.document = {
    addEventListener() {}, removeEventListener() {}, querySelector: () => ({ getAttribute: () => 'of the page' }),
  }
  try {
    open({
      authEndpoint: 'https://app.example/auth', withCredentials: true, bearerToken: 'token',
      auth: { headers: { 'X-Tenant': '7', accept: 'text/plain' }, params: { tenant: '7' } },
    })
    echo.privateChannel('a')
    await connected('1.2')
    echo.disconnect()
    open({ csrfToken: 'of the option' })
    echo.privateChannel('a')
    await connected('1.2')
  } finally {
    delete globalThis.document
  }
  const [{ url, credentials, headers, params }, { headers: second }] = requests
  assert.deepEqual([url, credentials, params], ['https://app.example/auth', 'include', { tenant: '7' }])
  assert.deepEqual(headers, { accept: 'text/plain', authorization: 'Bearer token', 'x-csrf-token': 'of the page', 'x-tenant': '7' })
  assert.equal(second['x-csrf-token'], 'of the option')
})

test('nothing is asked if the relay verifies no signatures', async () => {
  open()
  echo.privateChannel('a')
  await connected(undefined)
  assert.deepEqual(entries(), [{ channel: 'private-a' }])
  assert.equal(requests.length, 0)
})

test('a relay that verifies no signatures may refuse', async () => {
  open()
  subscribe(echo.privateChannel('a'))
  await connected(undefined)
  fake.socket.answer('subscribe', { type: 'error', code: 'unauthorized', message: 'no login', channel: 'private-a' })
  for (let i = 0; i < 5; i++) {
    await clock.advance(20_000)
    fake.socket.receive({ type: 'heartbeat' })
  }
  await later()
  assert.deepEqual([errors.map(({ code }) => code), entries().length], [['unauthorized'], 1])
})

test('nothing is asked without an endpoint', async () => {
  open({ authEndpoint: null })
  echo.privateChannel('a')
  await connected('1.2')
  assert.deepEqual(entries(), [{ channel: 'private-a' }])
})

test('each connection needs a new signature, and the position is kept', async () => {
  open()
  subscribe(echo.privateChannel('a'))
  await connected('1.2')
  requests[0].sign()
  await later()
  fake.socket.subscribed()
  fake.socket.receive({ type: 'message', channel: 'private-a', cursor: 'c7', data: '1' })
  for (const [n, socket] of ['3.4', '5.6'].entries()) {
    fake.socket.end(1012)
    await clock.advance(1000)
    await connected(socket)
    assert.deepEqual(entries(), [])
    if (n === 1) await clock.advance(20_000) // the application is slow
    requests.at(-1).sign()
    await later()
    assert.deepEqual(entries(), [{ channel: 'private-a', after: 'c7', auth: `key:${socket} private-a` }])
  }
  assert.deepEqual(errors, [])
})

test('the signature of an earlier connection is not used', async () => {
  open()
  subscribe(echo.privateChannel('a'))
  await connected('1.2')
  fake.socket.end(1012)
  assert.equal(requests[0].signal.aborted, true)
  await clock.advance(1000)
  await connected('3.4')
  requests[0].sign()
  await later()
  assert.deepEqual(entries(), [])
  requests[1].sign()
  await later()
  assert.deepEqual(entries(), [{ channel: 'private-a', auth: 'key:3.4 private-a' }])
  assert.deepEqual(errors, [])
})

test('an expired permission is renewed', async () => {
  open()
  subscribe(echo.privateChannel('a'))
  await connected('1.2')
  requests[0].sign()
  await later()
  fake.socket.subscribed({ cursor: 'c1' })
  entries()
  fake.socket.receive({ type: 'unsubscribed', channel: 'private-a', reason: 'expired' })
  await later()
  requests[1].sign()
  await later()
  assert.deepEqual(entries(), [{ channel: 'private-a', after: 'c1', auth: 'key:1.2 private-a' }])
  assert.deepEqual(errors, [])
})

const fails = {
  'a server error': (request) => request.answer(503, 'down'),
  'too many requests': (request) => request.answer(429, ''),
  'no connection': (request) => request.fail(new TypeError('fetch failed')),
  'no answer': () => clock.advance(30_000),
}

for (const [name, fail] of Object.entries(fails)) {
  test(`${name}: the request is repeated, later each time`, async () => {
    open()
    subscribe(echo.privateChannel('a'))
    await connected('1.2')
    for (let n = 1; n <= 8; n++) {
      await fail(requests.at(-1))
      fake.socket.receive({ type: 'heartbeat' })
      await later()
      assert.equal(errors.length, n)
      assert.deepEqual([errors[n - 1].code, errors[n - 1].type], ['unavailable', 'AuthError'])
      const wait = 0.5 * Math.min(30_000, 500 * 2 ** (n - 1)) // Math.random() is 0.5
      await clock.advance(wait - 10)
      fake.socket.receive({ type: 'heartbeat' })
      await later()
      assert.equal(requests.length, n)
      await later(10)
      assert.equal(requests.length, n + 1)
    }
    requests.at(-1).sign()
    await later()
    assert.equal(entries().length, 1)
  })
}

const refusals = {
  'no right': [403, ''],
  'no login': [401, ''],
  'another site': [419, ''],
  'the page of a login': [200, '<html>'],
  'no signature': [200, '{}'],
  'null': [200, 'null'],
  'a wrong signature': [200, '{"auth":7}'],
}

for (const [name, [status, text]] of Object.entries(refusals)) {
  test(`${name}: a refusal is final on this connection`, async () => {
    open()
    subscribe(echo.privateChannel('a'))
    await connected('1.2')
    requests[0].answer(status, text)
    await later()
    assert.deepEqual(errors.map(({ code, status, type }) => [code, status, type]), [['forbidden', status, 'AuthError']])
    for (let i = 0; i < 10; i++) {
      await clock.advance(20_000)
      fake.socket.receive({ type: 'heartbeat' })
    }
    await later()
    assert.equal(requests.length, 1)
    fake.socket.end(1012)
    await clock.advance(1000)
    await connected('3.4')
    assert.equal(requests.length, 2)
  })
}

test('few requests at once, and few commands', async () => {
  open()
  for (let n = 0; n < 40; n++) subscribe(echo.privateChannel(n))
  await connected('1.2')
  let answered = 0
  for (; answered < 40; answered++) {
    assert.ok(requests.length - answered <= 6)
    requests[answered].sign()
    await later(1)
  }
  await later(200)
  const commands = fake.socket.take().filter(({ type }) => type === 'subscribe')
  assert.equal(commands.flatMap(({ channels }) => channels).length, 40)
  assert.ok(commands.length <= 4, `${commands.length} commands`)
})

test('a subscribe is not too long for the relay', async () => {
  open()
  for (let n = 0; n < 6; n++) subscribe(echo.presenceChannel(n))
  await connected('1.2')
  for (const request of requests) request.sign({ channel_data: JSON.stringify({ user_id: 1, user_info: 'x'.repeat(3000) }) })
  for (let n = 0; n < 6; n++) await later(200)
  const commands = fake.socket.take().filter(({ type }) => type === 'subscribe')
  assert.equal(commands.flatMap(({ channels }) => channels).length, 6)
  for (const command of commands) assert.ok(JSON.stringify(command).length < 8192)
})

test('a channel that was left meanwhile is not subscribed to', async () => {
  open()
  subscribe(echo.privateChannel('a'))
  await connected('1.2')
  echo.leave('a')
  requests[0].sign()
  await later()
  assert.deepEqual(entries(), [])
})

test('an application may ask in its own way', async () => {
  const calls = []
  open({
    authorizer: ({ name }, options) => ({
      authorize: (socket, callback) => calls.push({ name, socket, callback, tenant: options.tenant }),
    }),
    tenant: '7',
  })
  subscribe(echo.privateChannel('a'))
  await connected('1.2')
  const { callback, ...call } = calls[0]
  assert.deepEqual(call, { name: 'private-a', socket: '1.2', tenant: '7' })
  callback(Object.assign(new Error('axios'), { response: { status: 500 } }))
  await later(1000)
  calls[1].callback(null, { auth: 'k:s' })
  await later()
  assert.deepEqual(entries(), [{ channel: 'private-a', auth: 'k:s' }])
  subscribe(echo.privateChannel('b'))
  await later()
  calls[2].callback({ response: { status: 403 } })
  await later()
  assert.deepEqual(errors.map(({ code }) => code), ['unavailable', 'forbidden'])
})

test('tabs do not share the connection', async () => {
  open({ share: 'user-42' })
  await connected('1.2')
  assert.equal(echo.socketId(), '1.2')
})
