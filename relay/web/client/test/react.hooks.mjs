// With the real React, in the DOM of jsdom.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import './dom.mjs'
import { StrictMode, act, createElement, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { connect } from 'sidecast'
import './node_modules/sidecast/sidecast-extra.mjs' // so that it is loaded without a delay
import { useChannel, useMembers, useRelayState } from 'sidecast/react'
import { fakeRelay, prepared, settle } from './fake.mjs'
import { Chat as ReadmeChat } from './readme.js'

let fake, relay, root

const app = () => document.getElementById('app').textContent
const inAct = (f) => act(async () => (await f(), await settle()))
const message = (channel, data) => ({ type: 'message', channel, data, cursor: data })

function Chat({ relay, name, prefix, ...options }) {
  const [lines, setLines] = useState([])
  const state = useRelayState(relay)
  const channel = useChannel(relay, name, { onMessage: (m) => setLines((lines) => [...lines, prefix + m.data]), ...options })
  return `${state} ${channel?.name}: ${lines}`
}

const render = (props) => inAct(() => root.render(createElement(StrictMode, null, createElement(Chat, { relay, prefix: '', ...props }))))

beforeEach(() => {
  fake = fakeRelay()
  relay = connect('ws://relay/ws', { WebSocket: fake.Socket })
  root = createRoot(document.getElementById('app'))
})

afterEach(async () => {
  await inAct(() => root.unmount())
  relay.close()
})

test('a component shows messages and the state', async () => {
  await render({ name: 'a', last: 3 })
  assert.equal(app(), 'connecting a: ')
  await inAct(() => fake.socket.welcome())
  // StrictMode mounts the component twice; the relay does not notice.
  assert.deepEqual(fake.socket.sent.map(({ type, channels }) => ({ type, channels })), [
    { type: 'subscribe', channels: [{ channel: 'a', last: 3 }] },
  ])
  await inAct(() => (fake.socket.subscribed(), fake.socket.receive(message('a', '1'))))
  assert.equal(app(), 'open a: 1')
})

test('the handlers of the latest render are called', async () => {
  await render({ name: 'a', prefix: 'old ' })
  await inAct(() => (fake.socket.welcome(), fake.socket.subscribed()))
  await render({ name: 'a', prefix: 'new ' })
  await inAct(() => fake.socket.receive(message('a', '1')))
  assert.equal(app(), 'open a: new 1')
  assert.equal(fake.socket.sent.length, 1)
})

test('another name, and no name', async () => {
  await render({ name: 'a' })
  await inAct(() => (fake.socket.welcome(), fake.socket.subscribed()))
  await render({ name: 'b' })
  assert.deepEqual(fake.socket.take().map(({ type }) => type), ['subscribe', 'unsubscribe', 'subscribe'])
  await render({ name: null })
  assert.equal(app(), 'open undefined: ')
  assert.deepEqual(fake.socket.take().map(({ type }) => type), ['unsubscribe'])
})

test('load, gaps and errors', async (t) => {
  t.mock.method(console, 'error', () => {})
  const calls = []
  await render({ name: 'a', load: () => calls.push('load'), onGap: (gap) => calls.push(gap.reason) })
  await inAct(() => (fake.socket.welcome(), fake.socket.subscribed()))
  await inAct(() => fake.socket.receive({ type: 'gap', channel: 'a', reason: 'too_large' }))
  assert.deepEqual(calls, ['load', 'too_large', 'load'])
  await inAct(() => fake.socket.receive({ type: 'unsubscribed', channel: 'a' }))
  assert.equal(console.error.mock.callCount(), 1)
})

test('unmounting ends the subscription', async () => {
  await render({ name: 'a' })
  await inAct(() => (fake.socket.welcome(), fake.socket.subscribed()))
  await inAct(() => root.unmount())
  assert.equal(fake.socket.sent.at(-1).type, 'unsubscribe')
})

function Members({ relay, name }) {
  const { members, count } = useMembers(useChannel(relay, name, { presence: true }))
  return `${count}: ${members.map(({ user, info }) => user + (info ?? ''))}`
}

test('a component shows the members', async () => {
  const show = (name) => inAct(() => root.render(createElement(StrictMode, null, createElement(Members, { relay, name }))))
  await show('a')
  assert.equal(app(), 'undefined: ')
  await inAct(async () => (fake.socket.welcome(), await prepared(), fake.socket.subscribed({ members: [{ user: 'ann', info: 1 }], count: 1 })))
  assert.equal(app(), '1: ann1')
  await inAct(() => fake.socket.receive({ type: 'join', channel: 'a', user: 'bob', count: 2 }))
  assert.equal(app(), '2: ann1,bob')
  await inAct(() => fake.socket.receive({ type: 'leave', channel: 'a', user: 'ann', count: 1 }))
  assert.equal(app(), '1: bob')
  await show(null)
  assert.equal(app(), 'undefined: ')
})

test("the README's component", async () => {
  await inAct(() => root.render(createElement(ReadmeChat, { relay })))
  await inAct(() => (fake.socket.welcome(), fake.socket.subscribed(), fake.socket.receive(message('chat:42', '1'))))
  assert.equal(document.querySelector('#app section').title, 'open')
  assert.equal(document.querySelector('#app li').textContent, '1')
  await inAct(() => document.querySelector('#app button').click())
  assert.equal(fake.socket.last('publish').data, 'hello')
  fake.socket.receive({ type: 'ok', ref: fake.socket.last('publish').ref })
})
