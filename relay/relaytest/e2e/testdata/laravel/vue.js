// A page that uses the composables of @laravel/echo-vue.
import { createApp, h, ref } from 'vue'
import { configureEcho, echo, useConnectionStatus, useEcho, useEchoNotification, useEchoPresence, useEchoPublic } from '@laravel/echo-vue'
import './hooks.js'

const Orders = {
  setup() {
    const status = useConnectionStatus()
    useEchoPublic('orders', 'OrderShipped', ({ id }) => see('public')(id))
    useEcho('orders.1', ['.order.paid', 'OrderShipped'], ({ id }) => see('private')(id))
    useEchoPresence('room.1', '.said', ({ text }) => see('said')(text))
    useEchoNotification('App.Models.User.1', ({ id }) => see('notification')(id))
    return () => h('p', { id: 'status' }, status.value)
  },
}

globalThis.mount = () => {
  configureEcho(globalThis.options())
  const isShown = ref(true)
  globalThis.hide = () => { isShown.value = false }
  createApp(() => isShown.value ? h(Orders) : null).mount('#app')
  globalThis.echo = echo()
}
