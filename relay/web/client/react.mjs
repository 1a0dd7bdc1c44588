// Hooks for React.
import { useEffect, useRef, useState, useSyncExternalStore } from 'react'

/**
 * Subscribes to a channel while the component is mounted, and returns the channel, or null before. The handlers and the
 * load of the latest render are called. Without a name, there is no channel.
 */
export function useChannel(relay, name, options = {}) {
  const latest = useRef(options)
  const [channel, setChannel] = useState(null)

  useEffect(() => {
    latest.current = options
  })

  useEffect(() => {
    if (!name) return
    const { onMessage, onGap, onError, load, ...position } = latest.current
    const opened = relay.channel(name, { ...position, load: load && (() => latest.current.load()) })
    opened.on('message', (message) => latest.current.onMessage?.(message))
    opened.on('gap', (gap) => latest.current.onGap?.(gap))
    opened.on('error', (error) => (latest.current.onError ?? console.error)(error))
    setChannel(opened)
    return () => {
      opened.close()
      setChannel(null)
    }
  }, [relay, name])

  return channel
}

/** Returns the state of the connection, and renders the component again when it changes. */
export function useRelayState(relay) {
  return useSyncExternalStore(
    (changed) => relay.on('state', changed),
    () => relay.state,
    () => 'connecting', // on a server
  )
}
