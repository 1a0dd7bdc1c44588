// Compiled against the types, never run.
import { connect, type Gap, type Member, type Members, type Message, type SidecastError, type State } from 'sidecast'
import { SidecastConnector } from 'sidecast/echo'
import Echo from 'laravel-echo'
import * as react from 'sidecast/react'
import * as vue from 'sidecast/vue'
import { ref } from 'vue'
import { WebSocket as NodeWebSocket } from 'ws'

const relay = connect()
connect('wss://push.example.com/ws', { token: async () => 'jwt', sse: true })
connect(new URL('ws://localhost:8080'), { WebSocket, token: () => undefined })
connect(null, { WebSocket: NodeWebSocket, share: 'user-42' }).logout()

const state: State = relay.state
relay.on('state', ({ state, code, retryIn }) => {
  const seconds: number = (retryIn ?? 0) / 1000
  if (state === 'closed' && code === 4403) console.log(seconds)
})

relay.on('subscribed', ({ channel }) => relay.channel(channel))

const chat = relay.channel('chat:42', { last: 10, since: '0-0', load: async () => {} })
relay.channel('a', { load: () => fetch('/state') })
const off = chat.on('message', (m: Message) => {
  const text: string = m.data
  const { n } = m.json<{ n: number }>()
  const bytes: Uint8Array = m.bytes()
  console.log(text, n.toFixed(), bytes.length, m.cursor, m.channel)
})
off()
const room = relay.channel('room:7', { presence: true, sig: async (name) => name + '.s', user: '7' })
relay.channel('a', { sig: 's' })
relay.channel('a', { sig: () => 's' })
const members: Members = room.members
const count: number | undefined = members.count
room.on('members', (all) => console.log(all === members, count, [...all.keys()].join(), all.get('7')?.name))
room.on('join', (member: Member) => console.log(member.user, member.info.name))
room.on('leave', ({ user, count }) => console.log(user.length, count.toFixed()))

chat.on('gap', (gap: Gap) => console.log(gap.reason === 'unrecovered', gap.channel?.length))
chat.on('error', (error: SidecastError) => console.log(error.code))

const published: Promise<void> = chat.publish({ a: 1 }, { echo: false })
published.catch((error: SidecastError) => error.code === 'rate_limited')

for await (const m of chat) console.log(m.json().anything)
chat.close()
relay.close()

function Component() {
  const channel = react.useChannel(relay, 'a', { last: 1, onMessage: (m) => m.data.length, onGap: (gap) => gap.reason })
  const state: State = react.useRelayState(relay)
  const { members, count } = react.useMembers(channel)
  console.log(members.map(({ user, info }) => user + info.name), count?.toFixed())
  return `${state} ${channel?.name}`
}

const name = ref<string | null>('a')
vue.useChannel(relay, name).value?.publish('hi')
vue.useChannel(relay, () => name.value, { onError: console.error })
const shown: State = vue.useRelayState(relay).value
const online: number | undefined = vue.useMembers(vue.useChannel(relay, name, { presence: true })).value.count
const users: string[] = vue.useMembers(relay.channel('a')).value.members.map(({ user }) => user)
console.log(state, shown, Component, online, users)

const echo = new Echo<'function'>({ broadcaster: SidecastConnector, url: 'wss://push.example.com/ws', token: async () => 'jwt' })
echo.private('orders').listen('OrderShipped', (data: { id: number }) => console.log(data.id))
echo.join('room').here((members: { id: string }[]) => console.log(members.length)).joining((member: { id: string }) => console.log(member.id))
new SidecastConnector({ namespace: false }).presenceChannel('a').here((members) => members[0].name).leaving(({ id }) => id.length)
new Echo<'function'>({ broadcaster: SidecastConnector, authEndpoint: '/auth', auth: { headers: { 'X-Tenant': '7' } }, bearerToken: 'token' })
new SidecastConnector({
  withCredentials: true, csrfToken: null, auth: { params: { tenant: '7' } },
  authorizer: ({ name }, options) => ({ authorize: (id, callback) => callback(null, { auth: name + id + options.key }) }),
}).privateChannel('a').gap(({ reason }) => reason.length).error(({ code, status }) => console.log(code.length, status?.toFixed()))
new SidecastConnector({ authEndpoint: null }).channel('a').listenForWhisper('typing', (data, { user_id }) => console.log(data, user_id?.length))
const id: string | undefined = echo.socketId()
console.log(id)
new SidecastConnector({ url: 'wss://push.example.com/ws' }).channel('a').listen('.x', () => {}).whisper('typing', {})

// @ts-expect-error the client changes the members
room.members.set('7', {})
// @ts-expect-error a signature is a text
relay.channel('a', { sig: async () => 7 })
// @ts-expect-error no such event
chat.on('massage', () => {})
// @ts-expect-error last is a number
relay.channel('a', { last: '10' })
// @ts-expect-error tabs cannot share a connection of Echo
new SidecastConnector({ share: 'user-42' })
// @ts-expect-error a channel has a name
relay.channel()
// @ts-expect-error there is no such state
relay.on('state', ({ state }) => state === 'opened')
// @ts-expect-error the payload is a method away
chat.on('message', (m) => m.json.n)
