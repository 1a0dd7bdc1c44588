// The part of the connector that reports members. The rest is tested with the real Laravel Echo and a relay.
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
  await settle()
  assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a' }, { channel: 'private-b' }])
})
