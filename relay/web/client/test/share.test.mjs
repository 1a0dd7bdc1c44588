import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { connect } from '../sidecast.mjs'
import '../sidecast-extra.mjs' // so that it is loaded without a delay
import '../sidecast-share.mjs' // the same
import { Log } from '../src/share-log.mjs'
import { installBrowser, ModelRelay, Queues, randomFrom } from './browser.mjs'
import { Clock } from './fake.mjs'

setMaxListeners(0) // a socket listens to one signal for each tab

let clock, queues, model, uninstall, tabs

/** Opens a tab, with channels. */
function open(channels, options) {
  const relay = connect('ws://relay/ws', { WebSocket: model.Socket, share: 'u', ...options })
  const tab = { relay, states: [], channels: {}, events: {}, wrong: [], present: new Set() }
  relay.on('state', (event) => tab.states.push(event))
  tab.open = (name, position) => {
    const channel = relay.channel(name, position)
    const events = (tab.events[name] ||= [])
    tab.channels[name] = channel
    channel.on('message', ({ data }) => events.push(Number(data)))
    channel.on('gap', ({ reason }) => events.push(reason))
    channel.on('error', (error) => events.push(error.code))
    tab.present.delete(name)
    if (position?.presence) watch(tab, name, channel)
  }
  for (const name of channels) tab.open(name)
  tabs.push(tab)
  return tab
}

/** Records wrong reports of members: each of them has to fit to those before. */
function watch(tab, name, channel) {
  let members = new Set()
  const { wrong } = tab
  tab.present.add(name)
  channel.on('members', (all) => (members = new Set(all.keys())))
  channel.on('join', ({ user, info }) => (members.has(user) || info !== user + '!') && wrong.push(`${user} joins ${name}`))
  channel.on('leave', ({ user, info }) => (!members.has(user) || info !== user + '!') && wrong.push(`${user} leaves ${name}`))
  channel.on('join', ({ user }) => members.add(user))
  channel.on('leave', ({ user }) => members.delete(user))
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
    if (random() < 0.3) model.own = random.of(names)
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
          } else tab.open(name, { ...(random() < 0.5 && { last: 3 }), ...(random() < 0.5 && { presence: true }) })
        } else if (dice < 0.62 && model.sockets.length) random.of(model.sockets).end(random.of([1006, 1012, 1013]))
        else if (dice < 0.63 && gaps) model.breakLink()
        else if (dice < 0.66) model.heartbeat()
        else if (dice > 0.85) model.move(random.of(['x', 'y', 'z']), random.of(names))
        else if (dice > 0.84) model.reportAll(random.of(names))
        else if (dice > 0.83) model.control('unsubscribe', random.of(names), 'expired')
        else if (dice > 0.82) model.control('subscribe', random.of(names))
        else if (dice < 0.7) await clock.advance(random.below(300))
        if (random() < 0.1) queues.hold(random)
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
        assert.deepEqual(tabs[i].wrong, [], `seed ${seed}: tab ${i}`)
        for (const name of Object.keys(channels)) {
          const where = `seed ${seed}: tab ${i}, ${name}: ${events[name]}`
          assert.equal(problem(events[name]), undefined, where)
          assert.equal(events[name].at(-1), model.channel(name).newest, where)
          if (!tabs[i].present.has(name)) continue
          assert.deepEqual([...channels[name].members.keys()].sort(), [...model.channel(name).members].sort(), where)
          assert.equal(channels[name].members.count, model.channel(name).members.size, where)
        }
      }
      // A tab can need a connection of its own for members.
      const most = tabs.some(({ present }) => present.size) ? tabs.length : 1
      assert.ok(model.sockets.length <= most, `seed ${seed}: ${model.sockets.length} connections`)
    } finally {
      tearDown()
    }
  }
})

describe('a shared connection', () => {
  beforeEach(() => setUp())
  afterEach(tearDown)

  const sent = () => model.sockets.flatMap(({ sent }) => sent)

  /** Opens tabs with the same channels, the first one as leader. */
  async function openTabs(count, channels, options) {
    for (let i = 0; i < count; i++) {
      open(channels, options)
      await run()
    }
    return tabs
  }

  test('asks for each channel once, and ends with the last tab', async () => {
    await openTabs(3, ['a', 'b'])
    const entries = sent().flatMap(({ channels }) => channels.map(({ channel }) => channel))
    assert.deepEqual(entries, ['a', 'b'])
    tabs[1].channels.a.close()
    tabs[0].channels.a.close()
    await run()
    assert.equal(sent().length, 1, 'a tab still has the channel')
    tabs[2].channels.a.close()
    await run()
    assert.deepEqual(sent()[1], { type: 'unsubscribe', channel: 'a' })
    for (const { relay } of tabs) relay.close()
    await run()
    assert.equal(model.sockets.length, 0)
  })

  test('keeps no channel for a tab that has gone', async () => {
    await openTabs(2, ['a'])
    tabs[1].open('b')
    await run()
    tabs[1].relay.close()
    await run()
    assert.deepEqual(sent().at(-1), { type: 'unsubscribe', channel: 'b' })
  })

  test('is the one of another tab when the leader leaves, at once', async () => {
    await openTabs(3, ['a'])
    model.publish('a')
    await run()
    tabs[0].relay.close()
    await run()
    assert.equal(model.sockets.length, 1)
    const [waiting, ...then] = tabs[1].states.slice(-3)
    assert.deepEqual(waiting, { state: 'waiting', code: 1012, retryIn: 0 })
    assert.deepEqual(then.map(({ state }) => state), ['connecting', 'open'])
    assert.deepEqual(sent(), [{ type: 'subscribe', ref: 1, channels: [{ channel: 'a', after: 'm1' }] }])
    model.publish('a')
    await run()
    assert.deepEqual(tabs.map(({ events }) => events.a), [[1], [1, 2], [1, 2]])
  })

  test('is made again after a random time if the relay ends it', async () => {
    await openTabs(3, ['a'])
    model.sockets[0].end(1012)
    await queues.run()
    for (const { states } of tabs) assert.deepEqual(states.at(-1), { state: 'waiting', code: 1012, retryIn: 250 })
    assert.equal(model.sockets.length, 0, 'no tab connects at once')
    await run()
    assert.equal(model.sockets.length, 1)
    for (const { states } of tabs) assert.equal(states.at(-1).state, 'open')
  })

  // Each close code ends a shared connection as it ends one of a tab.
  for (const [code, state] of [[4401, 'waiting'], [4403, 'closed'], [4409, 'closed']]) {
    test(`ends for all tabs with ${code}`, async () => {
      await openTabs(2, ['a'])
      model.sockets[0].end(code)
      await queues.run()
      for (const { states } of tabs) assert.deepEqual([states.at(-1).state, states.at(-1).code], [state, code])
    })
  }

  test('passes a gap of all channels on once, also if the leader changes', async () => {
    await openTabs(3, ['a'])
    model.publish('a')
    await run()
    model.breakLink()
    model.history = Infinity
    await run()
    for (let i = 0; i < 2; i++) {
      model.channel('a').oldest = 1 // the relay can send everything again
      tabs[i].relay.close()
      await run()
    }
    assert.deepEqual(tabs[2].events.a, [1, 'redis', 2], 'the model sends the lost message again')
  })

  test('reports to every tab that the relay could not resume', async () => {
    await openTabs(3, ['a'])
    model.publish('a')
    await run()
    model.history = 1
    model.sockets[0].end(1012)
    await queues.run()
    for (let i = 0; i < 3; i++) model.publish('a')
    await run()
    model.publish('a')
    await run()
    for (const { events } of tabs) assert.deepEqual(events.a, [1, 'unrecovered', 5])
  })

  test('resumes the channels that the relay subscribes users to', async () => {
    await openTabs(2, ['user:u'])
    model.own = 'user:u'
    model.publish('user:u')
    await run()
    model.sockets[0].end(1012)
    await queues.run()
    model.publish('user:u')
    await run()
    model.publish('user:u')
    await run()
    for (const { events } of tabs) assert.deepEqual(events['user:u'], [1, 2, 3])
    assert.equal(model.sockets.length, 1)
  })

  test('ends if it is another user\'s', async () => {
    await openTabs(2, ['a'])
    model.user = 'v'
    model.sockets[0].end(1012)
    await run()
    for (const { states } of tabs) assert.deepEqual(states.at(-1), { state: 'closed', code: 4401 })
    assert.equal(model.sockets.length, 0)
  })

  test('ends for all tabs at a logout, also for those that wait', async () => {
    await openTabs(2, ['a'])
    model.sockets[0].end(1012)
    await queues.run()
    assert.equal(tabs[1].relay.state, 'waiting')
    tabs[0].relay.logout()
    await queues.run()
    for (const { states } of tabs) assert.deepEqual(states.at(-1), { state: 'closed', code: 4401 })
  })

  describe('with members', () => {
    const keys = (tab, name = 'a') => [...tab.channels[name].members.keys()].join()

    /** Opens a tab that asks for the members of a channel. */
    async function openWatching() {
      const tab = open([])
      await run()
      tab.open('a', { presence: true })
      await run()
      return tab
    }

    test('reports them to every tab, with one connection', async () => {
      model.move('x', 'a')
      for (let i = 0; i < 3; i++) await openWatching()
      for (const tab of tabs) assert.deepEqual([keys(tab), tab.channels.a.members.get('x')], ['x', 'x!'])
      model.move('y', 'a')
      model.move('x', 'a')
      await run()
      for (const tab of tabs) assert.deepEqual([keys(tab), tab.channels.a.members.count, tab.wrong], ['y', 1, []])
      assert.deepEqual(sent().map(({ channels }) => channels), [[{ channel: 'a', presence: true }]])
    })

    test('tells a tab that opens the channel later who is there now', async () => {
      await openWatching()
      model.move('x', 'a')
      model.move('y', 'a')
      model.move('x', 'a')
      await run()
      assert.equal(keys(await openWatching()), 'y')
    })

    test('replaces them when another tab leads', async () => {
      for (let i = 0; i < 2; i++) await openWatching()
      tabs[0].relay.close()
      model.move('x', 'a')
      await run()
      assert.equal(keys(tabs[1]), 'x')
      model.move('y', 'a')
      await run()
      assert.deepEqual([keys(tabs[1]), tabs[1].wrong], ['x,y', []])
    })

    test('uses another connection for a tab if the leader has not asked for them', async () => {
      await openTabs(1, ['a'])
      const tab = await openWatching()
      assert.equal(model.sockets.length, 2)
      model.move('x', 'a')
      model.publish('a')
      await run()
      model.publish('a')
      await run()
      assert.deepEqual([keys(tab), tab.events.a, tabs[0].events.a], ['x', [1, 2], [1, 2]])
      assert.equal(model.sockets.length, 2)
      tab.relay.close()
      await run()
      assert.equal(model.sockets.length, 1)
    })

    test('does not count a refusal for tabs that have not asked for them', async () => {
      await openTabs(2, [])
      model.refuse = (socket, channel, { presence }) => presence && 'unauthorized'
      tabs[0].open('a', { presence: true })
      await settleImport()
      tabs[1].open('a')
      await run()
      model.publish('a')
      await run()
      assert.deepEqual(tabs.map(({ events }) => events.a), [['unauthorized'], [1]])
    })
  })

  test('resumes a channel whose right has expired, for every tab', async () => {
    await openTabs(3, ['a'])
    model.publish('a')
    await run()
    model.control('unsubscribe', 'a', 'expired')
    model.publish('a')
    await run()
    model.publish('a')
    await run()
    for (const { events } of tabs) assert.deepEqual(events.a, [1, 2, 3])
    assert.deepEqual(sent().slice(1).map(({ channels }) => channels), [[{ channel: 'a', after: 'm1' }]])
  })

  test('sends the signature of the tab that asks first', async () => {
    const signed = []
    for (const n of [1, 2]) {
      const tab = open([])
      await run()
      tab.open('a', { sig: () => (signed.push(n), `s${n}`) })
      await run()
    }
    assert.deepEqual(sent().map(({ channels }) => channels), [[{ channel: 'a', sig: 's1' }]])
    assert.deepEqual(signed, [1, 2])
    model.publish('a')
    await run()
    assert.deepEqual(tabs.map(({ events }) => events.a), [[1], [1]])
  })

  test('reports to every tab that the application has ended a subscription', async () => {
    await openTabs(2, ['a', 'b'])
    model.control('unsubscribe', 'a')
    model.publish('a')
    model.publish('b')
    await run()
    for (const { events } of tabs) assert.deepEqual([events.a, events.b], [['control'], [1]])
  })

  // How a tab opens a channel to which the application has subscribed the user -> what it receives.
  for (const [options, want] of [[{}, [2]], [{ last: 1 }, [1, 2]], [{ since: '0-0' }, ['unsubscribed']]]) {
    test(`lets tabs open a channel that the application has chosen, with ${JSON.stringify(options)}`, async () => {
      await openTabs(2, [])
      model.publish('a')
      const offered = []
      for (const tab of tabs) tab.relay.on('subscribed', ({ channel }) => offered.push(channel))
      tabs[1].relay.on('subscribed', ({ channel }) => tabs[1].open(channel, options))
      model.control('subscribe', 'a')
      await run()
      model.publish('a')
      await run()
      assert.deepEqual([offered, tabs[1].events.a], [['a', 'a'], want])
    })
  }

  test('is not shared with another key', async () => {
    open(['a'])
    open(['a'], { share: 'v' })
    await run()
    assert.equal(model.sockets.length, 2)
  })

  test('passes an echo on to the other tabs only', async () => {
    await openTabs(3, ['a'])
    for (const { channels } of tabs) {
      channels.a.publish('1', { echo: false }) // the model makes numbers of its own
      await run()
    }
    assert.deepEqual(tabs.map(({ events }) => events.a), [[2, 3], [1, 2, 3], [1, 2, 3]])
  })

  test('lets a tab use its own token', async () => {
    await openTabs(1, ['a'], { token: async () => 't1' })
    await openTabs(1, ['a'], { token: async () => 't2' })
    assert.equal(model.sockets[0].protocols[1], 'sidecast.token.t1')
    tabs[0].relay.close()
    await run()
    assert.equal(model.sockets[0].protocols[1], 'sidecast.token.t2')
  })

  // A refusal -> what the tabs report, and how many connections there are.
  for (const [code, events, connections] of [
    ['forbidden', ['forbidden'], 1],
    ['too_many_channels', [], 3],
  ]) {
    test(`refuses a channel with ${code}`, async () => {
      await openTabs(2, ['a'])
      model.refuse = (socket, channel) => channel === 'b' && socket === model.sockets[0] && code
      for (const tab of tabs) tab.open('b')
      await run()
      for (const tab of tabs) assert.deepEqual(tab.events.b, events)
      assert.equal(model.sockets.length, connections)
      model.publish('b')
      await run()
      for (const tab of tabs) assert.deepEqual(tab.events.b, connections > 1 ? [1] : events)
      model.publish('a')
      await run()
      for (const tab of tabs) assert.deepEqual(tab.events.a, [1])
    })
  }
})

test('without Web Locks, each tab has its own connection', async () => {
  setUp()
  uninstall()
  open(['a'])
  open(['a'])
  await run()
  assert.equal(model.sockets.length, 2)
  for (const { relay } of tabs) relay.logout()
  clock.restore()
  uninstall = () => {}
})

describe('the recent frames', () => {
  const frame = (n, more) => {
    return { id: `l ${n}`, leader: 'l', type: 'message', channel: 'a', cursor: `m${n}`, text: 'm', ...more }
  }
  const cursors = (items) => items?.map(({ cursor }) => cursor)

  test('are bounded in number and size', () => {
    for (const [text, most] of [['m', 1000], ['m'.repeat(100_000), 10]]) {
      const log = new Log()
      for (let n = 1; n <= 3000; n++) log.add(frame(n, { text }))
      assert.equal(log.after('a', `m${3000 - most}`).length, most)
      assert.equal(log.after('a', `m${2999 - most}`), undefined)
    }
  })

  test('do not forget a gap without a cursor', () => {
    const log = new Log()
    log.add(frame(1))
    log.add({ id: 'l 2', leader: 'l', type: 'gap', text: 'g' })
    for (let n = 3; n <= 1001; n++) log.add(frame(n, { channel: 'b' }))
    assert.deepEqual(cursors(log.after('a', 'm1')), [undefined], 'the message before it has been dropped')
    assert.deepEqual(log.after('a', 'm1', 'l 2'), [])
    log.add(frame(1002, { channel: 'b' }))
    assert.equal(log.after('a', 'm1'), undefined, 'the gap has been dropped')
  })

  test('of two leaders do not follow each other', () => {
    const log = new Log()
    log.add(frame(1))
    log.add(frame(3, { leader: 'k' }))
    assert.equal(log.after('a', 'm1'), undefined)
    assert.deepEqual(log.after('a', 'm3'), [])
  })

  test('are replaced by what the relay sends again', () => {
    const log = new Log()
    for (let n = 1; n <= 3; n++) log.add(frame(n))
    log.add({ type: 'subscribed', channel: 'a', leader: 'k', after: 'm2' })
    assert.deepEqual(cursors(log.after('a', 'm1')), ['m2'])
    log.add(frame(3, { leader: 'k' }))
    assert.deepEqual(cursors(log.after('a', 'm1')), ['m2', 'm3'])
  })
})
