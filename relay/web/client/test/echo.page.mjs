// A page that uses Laravel Echo with the connector in three ways, and records what it sees: window.seen, by library.
import { configureEcho as configureReact, echo as echoOfReact, useConnectionStatus, useEcho, useEchoNotification, useEchoPresence, useEchoPublic } from '@laravel/echo-react'
import * as vueEcho from '@laravel/echo-vue'
import Echo from 'laravel-echo'
import { createElement, useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { SidecastConnector } from 'sidecast/echo'
import { createApp, watch } from 'vue'

const USER = 'App.Models.User.7'

/** Returns a function that records events. */
function recorder(library) {
  const events = (window.seen[library] = [])
  return (kind, value) => events.push({ kind, value })
}

function observe(channel, log) {
  channel.subscribed(() => log('subscribed', channel.name))
  return channel.gap(({ reason }) => log('gap', reason)).error((error) => log('error', error.message))
}

function observeRoom(room, log) {
  const report = (kind) => (members) => log(kind, [members].flat().map(({ id, name }) => `${id} ${name}`).sort())
  observe(room, log).here(report('here')).joining(report('joining')).leaving(report('leaving'))
}

const libraries = {
  echo(options, log) {
    const echo = new Echo(options)
    log('status', echo.connectionStatus())
    echo.connector.onConnectionChange((status) => log('status', status))
    observe(echo.channel('orders'), log).listen('OrderShipped', ({ n }) => log('orders', n))
    const chat = observe(echo.private('chat'), log).listen('MessageSent', ({ n }) => log('chat', n))
    chat.listenForWhisper('typing', ({ name }) => log('whisper', name))
    observeRoom(echo.join('room').listen('.room.changed', ({ n }) => log('room', n)), log)
    observe(echo.private(USER), log).notification(({ text, n }) => log('notification', text ?? n))
    return echo
  },

  react(options, log) {
    configureReact(options)
    function Page() {
      const orders = useEchoPublic('orders', 'OrderShipped', ({ n }) => log('orders', n))
      const chat = useEcho('chat', 'MessageSent', ({ n }) => log('chat', n))
      const room = useEchoPresence('room', '.room.changed', ({ n }) => log('room', n))
      const user = useEchoNotification(USER, ({ text, n }) => log('notification', text ?? n))
      useEffect(() => {
        for (const { channel } of [orders, user]) observe(channel(), log)
        observe(chat.channel(), log).listenForWhisper('typing', ({ name }) => log('whisper', name))
        observeRoom(room.channel(), log)
      }, [])
      const status = useConnectionStatus()
      useEffect(() => void log('status', status), [status])
    }
    const root = document.body.appendChild(document.createElement('div'))
    createRoot(root).render(createElement(Page))
    return echoOfReact()
  },

  vue(options, log) {
    vueEcho.configureEcho(options)
    const setup = () => {
      const orders = vueEcho.useEchoPublic('orders', 'OrderShipped', ({ n }) => log('orders', n))
      const chat = vueEcho.useEcho('chat', 'MessageSent', ({ n }) => log('chat', n))
      const room = vueEcho.useEchoPresence('room', '.room.changed', ({ n }) => log('room', n))
      const user = vueEcho.useEchoNotification(USER, ({ text, n }) => log('notification', text ?? n))
      for (const { channel } of [orders, user]) observe(channel(), log)
      observe(chat.channel(), log).listenForWhisper('typing', ({ name }) => log('whisper', name))
      observeRoom(room.channel(), log)
      watch(vueEcho.useConnectionStatus(), (status) => log('status', status), { immediate: true, flush: 'sync' })
      return () => null
    }
    createApp({ setup }).mount(document.body.appendChild(document.createElement('div')))
    return vueEcho.echo()
  },
}

window.seen = {}
window.echoes = {}
window.start = (library, options) => {
  window.echoes[library] = libraries[library]({ broadcaster: SidecastConnector, ...options }, recorder(library))
}
