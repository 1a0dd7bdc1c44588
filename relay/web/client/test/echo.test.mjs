// The parts of the connector that need no relay. The rest is tested with the real Laravel Echo and a relay.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { SidecastConnector } from '../sidecast-echo.mjs'
import '../sidecast-extra.mjs' // so that it is loaded without a delay
import { fakeRelay, prepared, settle } from './fake.mjs'

let fake, echo, events

beforeEach(async () => {
  fake = fakeRelay()
  echo = new SidecastConnector({ url: 'ws://relay/ws', WebSocket: fake.Socket })
  events = []
  const room = echo.presenceChannel('room')
  room.here((members) => events.push(members)).joining((member) => events.push(['+', member]))
  room.leaving((member) => events.push(['-', member])).listen('.x', (data) => events.push(data))
  await settle()
  fake.socket.welcome()
  await prepared()
})

afterEach(() => echo.disconnect())

test('here, joining and leaving', async () => {
  assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'presence-room', presence: true }])
  fake.socket.subscribed({ members: [{ user: '7', info: { name: 'Ann' } }, { user: '8' }, { user: '9', info: 'text' }], count: 3 })
  fake.socket.receive(
    { type: 'join', channel: 'presence-room', user: '4', info: { name: 'Bob' }, count: 4 },
    { type: 'leave', channel: 'presence-room', user: '7', count: 3 },
    { type: 'message', channel: 'presence-room', data: '{"event":"x","data":1}' },
  )
  await settle()
  assert.deepEqual(events, [
    [{ id: '7', name: 'Ann' }, { id: '8' }, { id: '9' }],
    ['+', { id: '4', name: 'Bob' }],
    ['-', { id: '7', name: 'Ann' }],
    1,
  ])
})

test('members that the relay does not report are not nobody', () => {
  fake.socket.subscribed()
  assert.deepEqual(events, [])
})

test('a new connection reports them again', async () => {
  fake.socket.subscribed({ members: [{ user: '7' }], count: 1 })
  echo.connect()
  await settle()
  fake.socket.welcome()
  await prepared()
  fake.socket.subscribed({ members: [], count: 0 })
  assert.deepEqual(events, [[{ id: '7' }], []])
})

test('other channels do not ask for members', async () => {
  echo.channel('a')
  echo.privateChannel('b')
  fake.socket.take()
  await prepared()
  const subscribes = fake.socket.take().filter(({ type }) => type === 'subscribe')
  assert.deepEqual(subscribes.flatMap(({ channels }) => channels), [{ channel: 'a' }, { channel: 'private-b' }])
})

/** Opens a channel, and returns what its listeners receive. */
async function open(channel, ...listeners) {
  const seen = []
  for (const event of listeners) channel.listen(event, (...values) => seen.push(values))
  await settle()
  fake.socket.subscribed()
  return seen
}

const message = (channel, data) => ({ type: 'message', channel, data: typeof data === 'string' ? data : JSON.stringify(data) })

test('events have the names of Echo', async () => {
  const names = ['Shipped', '.Shipped', '\\App\\Other', 'Order.Shipped', '.order.shipped']
  const seen = await open(echo.channel('a'), ...names)
  const all = []
  echo.channel('a').listenToAll((name) => all.push(name))
  const published = ['App\\Events\\Shipped', 'Shipped', 'App\\Other', 'App\\Events\\Order\\Shipped', 'order.shipped']
  fake.socket.receive(...published.map((event, data) => message('a', { event, data, socket: null })))
  assert.deepEqual(seen.map(([n]) => n), [0, 1, 2, 3, 4])
  assert.deepEqual(all, ['Shipped', '.Shipped', '.App\\Other', 'Order\\Shipped', '.order.shipped'])
})

test('data that is JSON in a text is parsed', async () => {
  const seen = await open(echo.channel('a'), '.x', '.message')
  const payloads = [
    { event: 'x', data: { a: 1 } }, // as Laravel's redis driver publishes it
    { event: 'x', data: '{"a":1}' }, // as the pusher driver sends it
    { event: 'x', data: 'no JSON' },
    { event: 'x' },
    'no envelope',
    '{"a":1}',
    { event: 7 },
    'null',
    '',
  ]
  fake.socket.receive(...payloads.map((payload) => message('a', payload)))
  const values = [{ a: 1 }, { a: 1 }, 'no JSON', undefined, 'no envelope', { a: 1 }, { event: 7 }, null, '']
  assert.deepEqual(seen.map(([data]) => data), values)
})

test('the sender of a whisper is known', async () => {
  const seen = await open(echo.channel('a'), '.client-x')
  fake.socket.receive(message('a', { event: 'client-x', data: 1, user_id: '7' }), message('a', { event: 'client-x', data: 2 }))
  assert.deepEqual(seen, [[1, { user_id: '7' }], [2, {}]])
})

test('an event for others is not for this and earlier connections', async () => {
  assert.match(echo.socketId(), /^\d+\.\d+$/)
  echo.connect()
  await settle()
  fake.socket.welcome({ socket_id: '1.2' })
  assert.equal(echo.socketId(), '1.2')
  fake.socket.end(1012)
  assert.equal(echo.socketId(), '1.2')
  echo.connect()
  await settle()
  fake.socket.welcome({ socket_id: '3.4' })
  assert.equal(echo.socketId(), '3.4')
  const seen = await open(echo.channel('a'), '.x')
  fake.socket.receive(...['1.2', '3.4', '5.6', null].map((socket) => message('a', { event: 'x', data: { socket }, socket })))
  assert.deepEqual(seen.map(([{ socket }]) => socket), ['5.6', null])
})

test('without a socket id of the relay, a whisper has that of the page', async () => {
  await open(echo.privateChannel('a'))
  echo.privateChannel('a').whisper('typing', { name: 'Ann' })
  const { data, echo: echoes } = fake.socket.last('publish')
  assert.deepEqual(JSON.parse(data), { event: 'client-typing', data: { name: 'Ann' }, socket: echo.socketId() })
  assert.equal(echoes, false)
})

test('a gap has two listeners', async () => {
  const gaps = []
  echo.channel('a').gap(({ reason }) => gaps.push(reason)).listen('.sidecast:gap', ({ reason }) => gaps.push(reason))
  await settle()
  fake.socket.subscribed()
  fake.socket.receive({ type: 'gap', channel: 'a', reason: 'redis' })
  assert.deepEqual(gaps, ['redis', 'redis'])
})

test('the status is that of Echo', async () => {
  const seen = []
  const off = echo.onConnectionChange((status) => seen.push(status))
  fake.socket.receive({ type: 'offline' })
  fake.socket.end(1012)
  assert.equal(echo.connectionStatus(), 'reconnecting')
  echo.connect()
  assert.equal(echo.connectionStatus(), 'connecting')
  await settle()
  fake.socket.welcome()
  fake.socket.end(4403)
  assert.deepEqual(seen, ['connected', 'reconnecting', 'disconnected', 'connected', 'failed'])
  off()
  echo.connect()
  echo.disconnect()
  assert.equal(echo.connectionStatus(), 'disconnected')
  assert.equal(seen.length, 5)
})
