// The snippets of the README that need no relay of their own are executed.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, test } from 'node:test'
import { connect } from '../sidecast.mjs'
import '../sidecast-extra.mjs' // so that it is loaded without a delay
import { fakeRelay, prepared, settle } from './fake.mjs'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

let fake, relay, logged

/** Runs the snippet that contains a text. */
function run(contains, globals) {
  const snippets = readme.split('```js\n').map((part) => part.split('```')[0])
  const snippet = snippets.slice(1).find((snippet) => snippet.includes(contains))
  const all = { relay, console: { log: (...values) => logged.push(values) }, ...globals }
  new Function(...Object.keys(all), snippet)(...Object.values(all))
}

beforeEach(async () => {
  fake = fakeRelay()
  relay = connect('ws://relay/ws', { WebSocket: fake.Socket })
  logged = []
  await settle()
  fake.socket.welcome()
})

afterEach(() => relay.close())

test('a channel that the relay has subscribed the user to', () => {
  run("relay.on('subscribed'")
  fake.socket.receive({ type: 'subscribed', channel: 'room:9', cursor: 'c' }, { type: 'message', channel: 'room:9', data: 'hi' })
  assert.deepEqual(logged, [['room:9', 'hi']])
})

test('who is there', async () => {
  run('presence: true')
  await prepared()
  fake.socket.subscribed({ members: [{ user: '42' }], count: 1 })
  fake.socket.receive(
    { type: 'join', channel: 'room:7', user: '7', info: { name: 'Ann' }, count: 2 },
    { type: 'leave', channel: 'room:7', user: '7', count: 1 },
  )
  assert.deepEqual(logged, [[1, ['42']], ['7', 'is here', { name: 'Ann' }], [2, ['42', '7']], ['7', 'has left'], [1, ['42']]])
})

test('a signature', async () => {
  run('sig: async', { fetch: async (url) => ({ text: async () => 'signed ' + url }) })
  await prepared()
  assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'job:7', sig: 'signed /sign?channel=job:7' }])
  fake.socket.subscribed()
  fake.socket.receive({ type: 'message', channel: 'job:7', data: '50 %' })
  assert.deepEqual(logged, [['50 %']])
})
