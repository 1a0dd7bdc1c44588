// The real laravel-echo with the connector, and a real relay: prints what the page would see.
import Echo from 'laravel-echo'
import { SidecastConnector } from 'sidecast/echo'
import { WebSocket } from 'ws'

const emit = (kind, value) => console.log(JSON.stringify({ kind, value }))
const url = process.argv[2]
const client = () => new Echo({ broadcaster: SidecastConnector, url, WebSocket })

const echo = client()
emit('status', echo.connectionStatus())
echo.connector.onConnectionChange((status) => {
  if (status === 'connected') emit('socket', echo.socketId())
  emit('status', status)
})

const orders = echo.channel('orders')
orders
  .subscribed(() => emit('subscribed', orders.name))
  .listen('OrderShipped', (data) => emit('shipped', data.order.id))
  .listen('.order.paid', (data) => emit('paid', data.total))
  .listen('.message', (data) => emit('plain', data))
  .notification((notification) => emit('notification', notification.text))
  .listenToAll((event, data) => emit('all', event))
orders.listen('.sidecast:gap', (gap) => emit('gap', gap.reason))

const other = client()
echo.private('chat').subscribed(() => emit('subscribed', 'private-chat')).listenForWhisper('typing', (data) => emit('own whisper', data.name))
const room = other.private('chat').listenForWhisper('typing', (data) => emit('whisper', data.name))
room.subscribed(() => emit('subscribed', 'other'))
echo.join('lobby').here(() => emit('here')).joining(() => {}).leaving(() => {}).listen('.x', () => {})
echo.channel('secret').error((error) => emit('refused', error.code))

for await (const line of (await import('node:readline')).createInterface({ input: process.stdin })) {
  if (line === 'whisper') echo.private('chat').whisper('typing', { name: 'Ann' })
  if (line === 'forget') orders.stopListening('.order.paid')
  if (line === 'leave') echo.leave('orders')
  if (line === 'disconnect') echo.disconnect()
  emit('done', line)
}
