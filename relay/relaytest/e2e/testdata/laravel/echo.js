// A page of a Laravel application, in a browser or in Node. A test calls connect
// and reads seen.
import Echo from 'laravel-echo'
import Pusher from 'the-pusher'

globalThis.seen = []
globalThis.see = (name) => (value) => seen.push([name, value ?? null])
globalThis.seenAs = (name) => seen.filter(([other]) => other === name).map(([, value]) => value)

const isPage = typeof document !== 'undefined'
const site = new URL(isPage ? location.origin : process.argv[2])

// connect returns an Echo with the options of Laravel's resources/js/echo.js.
globalThis.connect = (options) => {
  const echo = new Echo({
    broadcaster: 'reverb',
    key: globalThis.key,
    wsHost: site.hostname,
    wsPort: site.port,
    wssPort: site.port,
    forceTLS: false,
    enabledTransports: ['ws', 'wss'],
    Pusher,
    ...(isPage ? {} : node),
    ...options,
  })
  echo.connector.pusher.connection.bind('state_change', ({ current }) => see('state')(current))
  echo.connector.pusher.connection.bind('error', ({ error }) => see('problem')(error?.data ?? String(error)))
  globalThis.echo = echo
}

// Node has no cookies, and no address that paths are relative to.
const node = isPage ? {} : {
  bearerToken: process.argv[3],
  authEndpoint: site.origin + '/broadcasting/auth',
  userAuthentication: { endpoint: site.origin + '/broadcasting/user-auth', headers: {} },
}

// connectMany returns n clients of pusher-js that listen to a channel.
globalThis.connectMany = (n, channel, event) => Array.from({ length: n }, (_, i) => {
  const client = new Pusher(key, {
    cluster: '', wsHost: site.hostname, wsPort: site.port, forceTLS: false, enabledTransports: ['ws', 'wss'],
  })
  client.connection.bind('error', ({ error }) => see('problem')(error?.data ?? String(error)))
  client.subscribe(channel).bind(event, see('client ' + i))
  return client
})

// broadcastToOthers lets the application broadcast an event to others than this client.
globalThis.broadcastToOthers = (event) => fetch(site.origin + '/broadcast', {
  method: 'POST', headers: { 'X-Socket-ID': echo.socketId() }, body: JSON.stringify(event),
}).then((answer) => see('broadcast')(answer.status))
