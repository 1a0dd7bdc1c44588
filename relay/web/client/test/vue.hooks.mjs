// With the real Vue, in the DOM of jsdom.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import './dom.mjs'
import { createApp, h, nextTick, ref } from 'vue'
import { connect } from 'sidecast'
import './node_modules/sidecast/sidecast-extra.mjs' // so that it is loaded without a delay
import { useChannel, useMembers, useRelayState } from 'sidecast/vue'
import { fakeRelay, prepared, settle } from './fake.mjs'
import ReadmeChat from './readme.vue.mjs'

let fake, relay, app, name, calls

const text = async () => (await settle(), await nextTick(), document.getElementById('app').textContent)
const message = (channel, data) => ({ type: 'message', channel, data, cursor: data })

function mount(options) {
  app = createApp({
    setup() {
      const lines = ref([])
      const state = useRelayState(relay)
      const channel = useChannel(relay, name, { onMessage: (m) => lines.value.push(m.data), ...options })
      return () => h('p', `${state.value} ${channel.value?.name}: ${lines.value}`)
    },
  })
  app.mount('#app')
}

beforeEach(() => {
  fake = fakeRelay()
  relay = connect('ws://relay/ws', { WebSocket: fake.Socket })
  name = ref('a')
  calls = []
})

afterEach(() => {
  app.unmount()
  relay.close()
})

test('a component shows messages and the state', async () => {
  mount({ last: 3 })
  assert.equal(await text(), 'connecting a: ')
  fake.socket.welcome()
  assert.deepEqual(fake.socket.last('subscribe').channels, [{ channel: 'a', last: 3 }])
  fake.socket.subscribed()
  fake.socket.receive(message('a', '1'))
  assert.equal(await text(), 'open a: 1')
})

test('a component shows the members', async () => {
  app = createApp({
    setup() {
      const shown = useMembers(useChannel(relay, name, { presence: true }))
      return () => h('p', `${shown.value.count}: ${shown.value.members.map(({ user, info }) => user + (info ?? ''))}`)
    },
  })
  app.mount('#app')
  await settle()
  fake.socket.welcome()
  await prepared()
  assert.equal(await text(), 'undefined: ')
  fake.socket.subscribed({ members: [{ user: 'ann', info: 1 }], count: 1 })
  assert.equal(await text(), '1: ann1')
  fake.socket.receive({ type: 'join', channel: 'a', user: 'bob', count: 2 })
  assert.equal(await text(), '2: ann1,bob')
  fake.socket.receive({ type: 'leave', channel: 'a', user: 'ann', count: 1 })
  assert.equal(await text(), '1: bob')
  name.value = null
  assert.equal(await text(), 'undefined: ')
})

test('another name, and no name', async () => {
  mount()
  await settle()
  fake.socket.welcome()
  fake.socket.subscribed()
  name.value = 'b'
  assert.equal(await text(), 'open b: ')
  name.value = null
  assert.equal(await text(), 'open undefined: ')
  assert.deepEqual(fake.socket.take().map(({ type }) => type), ['subscribe', 'unsubscribe', 'subscribe', 'unsubscribe'])
})

test('load, gaps and errors', async (t) => {
  t.mock.method(console, 'error', () => {})
  mount({ load: () => calls.push('load'), onGap: (gap) => calls.push(gap.reason) })
  await settle()
  fake.socket.welcome()
  fake.socket.subscribed()
  await settle()
  fake.socket.receive({ type: 'gap', channel: 'a', reason: 'too_large' })
  await settle()
  assert.deepEqual(calls, ['load', 'too_large', 'load'])
  fake.socket.receive({ type: 'unsubscribed', channel: 'a' })
  assert.equal(console.error.mock.callCount(), 1)
})

test("the README's component", async () => {
  app = createApp(ReadmeChat, { relay })
  app.mount('#app')
  await settle()
  fake.socket.welcome()
  fake.socket.subscribed()
  fake.socket.receive(message('chat:42', '1'))
  await text()
  assert.equal(document.querySelector('#app section').title, 'open')
  assert.equal(document.querySelector('#app li').textContent, '1')
  document.querySelector('#app button').click()
  assert.equal(fake.socket.last('publish').data, 'hello')
  fake.socket.receive({ type: 'ok', ref: fake.socket.last('publish').ref })
})

test('unmounting ends the subscription', async () => {
  mount()
  await settle()
  fake.socket.welcome()
  fake.socket.subscribed()
  app.unmount()
  await settle()
  assert.equal(fake.socket.sent.at(-1).type, 'unsubscribe')
  mount() // for afterEach
})
