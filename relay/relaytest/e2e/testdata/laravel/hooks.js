// What the pages for React and Vue share.
globalThis.seen = []
globalThis.see = (name) => (value) => seen.push([name, value ?? null])
globalThis.seenAs = (name) => seen.filter(([other]) => other === name).map(([, value]) => value)
globalThis.options = () => ({
  broadcaster: 'reverb', key, wsHost: location.hostname, wsPort: location.port, wssPort: location.port,
  forceTLS: false, enabledTransports: ['ws', 'wss'],
})
