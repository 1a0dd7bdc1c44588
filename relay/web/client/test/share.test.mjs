import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { connect } from '../sidecast.mjs'
import '../sidecast-share.mjs' // so that it is loaded without a delay
import { installBrowser, ModelRelay, Queues, randomFrom } from './browser.mjs'
import { Clock } from './fake.mjs'

setMaxListeners(0) // a socket listens to one signal for each tab

let clock, queues, model, uninstall, tabs

/** Opens a tab, with channels. */
function open(channels, options) {
  const relay = connect('ws://relay/ws', { WebSocket: model.Socket, share: 'u', ...options })
  const tab = { relay, states: [], channels: {}, events: {} }
  relay.on('state', (event) => tab.states.push(event))
  tab.open = (name, position) => {
    const channel = relay.channel(name, position)
    const events = (tab.events[name] ||= [])
    tab.channels[name] = channel
    channel.on('message', ({ data }) => events.push(Number(data)))
    channel.on('gap', ({ reason }) => events.push(reason))
    channel.on('error', (error) => events.push(error.code))
  }
  for (const name of channels) tab.open(name)
  tabs.push(tab)
  return tab
}

/** Lets everything happen that needs no time, and then the next attempts to connect. */
async function run(random) {
  await settleImport()
  for (let i = 0; i < 3; i++) {
    await queues.run(random)
    await clock.advance(600)
  }
  await queues.run(random)
}

/** import() needs more than microtasks. */
const settleImport = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

const setUp = (options) => {
  clock = new Clock(options)
  queues = new Queues()
  model = new ModelRelay(queues)
  uninstall = installBrowser(queues)
  tabs = []
}

const tearDown = () => {
  for (const { relay } of tabs) relay.close()
  uninstall()
  clock.restore()
}

/** Returns what is wrong with the events of a channel. */
function problem(events) {
  let newest
  let gap = false
  for (const event of events) {
    if (typeof event === 'string') gap = true
    else {
      if (newest !== undefined && event <= newest) return `${event} after ${newest}`
      if (newest !== undefined && event > newest + 1 && !gap) return `${event} after ${newest} without a gap`
      newest = event
      gap = false
    }
  }
}

// Tabs come and go, connections break, messages wait in queues: each tab receives every message once and in order, or
// a gap.
test('random histories', async () => {
  const names = ['a', 'b', 'c']
  for (let seed = 1; seed <= (Number(process.env.SEEDS) || 40); seed++) {
    const random = randomFrom(seed)
    setUp({ random: null })
    Math.random = random
    model.history = random.of([5, 50, 5000])
    const gaps = random() < 0.3
    try {
      open(['a'])
      await run(random)
      for (let i = 0; i < 300; i++) {
        const tab = random.of(tabs)
        const dice = random()
        if (dice < 0.5) model.publish(random.of(names))
        else if (dice < 0.54 && tabs.length < 6) open(names.filter(() => random() < 0.6))
        else if (dice < 0.57 && tabs.length > 1) {
          tab.relay.close()
          tabs.splice(tabs.indexOf(tab), 1)
          tab.closed = true
        } else if (dice < 0.6) {
          const name = random.of(names)
          if (tab.channels[name]) {
            tab.channels[name].close()
            delete tab.channels[name]
            delete tab.events[name]
          } else tab.open(name, random() < 0.5 ? { last: 3 } : {})
        } else if (dice < 0.62 && model.sockets.length) random.of(model.sockets).end(random.of([1006, 1012, 1013]))
        else if (dice < 0.63 && gaps) model.breakLink()
        else if (dice < 0.64) model.heartbeat()
        else if (dice < 0.67) await clock.advance(random.below(700))
        for (let n = random.below(6); n > 0; n--) await queues.step(random)
        if (i % 10 === 0) await settleImport()
      }
      for (let i = 0; i < 30; i++) {
        if (i % 10 === 9) model.heartbeat()
        await run(random)
      }
      for (const name of names) model.publish(name)
      await run(random)
      for (const name of names) model.publish(name)
      await run(random)
      for (const [i, { events, relay, channels }] of tabs.entries()) {
        assert.equal(relay.state, 'open', `seed ${seed}: tab ${i}`)
        for (const name of Object.keys(channels)) {
          assert.equal(problem(events[name]), undefined, `seed ${seed}: tab ${i}, ${name}: ${events[name]}`)
          assert.equal(events[name].at(-1), model.channel(name).newest, `seed ${seed}: tab ${i}, ${name}: ${events[name]}`)
        }
      }
      assert.equal(model.sockets.length, 1, `seed ${seed}: connections`)
    } finally {
      tearDown()
    }
  }
})
