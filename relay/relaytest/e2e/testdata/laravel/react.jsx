// A page that uses the hooks of @laravel/echo-react.
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { configureEcho, echo, useConnectionStatus, useEcho, useEchoNotification, useEchoPresence, useEchoPublic } from '@laravel/echo-react'
import './hooks.js'

function Orders() {
  const status = useConnectionStatus()
  useEchoPublic('orders', 'OrderShipped', ({ id }) => see('public')(id))
  useEcho('orders.1', ['.order.paid', 'OrderShipped'], ({ id }) => see('private')(id))
  useEchoPresence('room.1', '.said', ({ text }) => see('said')(text))
  useEchoNotification('App.Models.User.1', ({ id }) => see('notification')(id))
  return <p id="status">{status}</p>
}

function Page() {
  const [isShown, show] = useState(true)
  globalThis.hide = () => show(false)
  return isShown && <Orders />
}

globalThis.mount = () => {
  configureEcho(globalThis.options())
  createRoot(document.getElementById('app')).render(<StrictMode><Page /></StrictMode>)
  globalThis.echo = echo()
}
