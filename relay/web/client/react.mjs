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

const listMembers = ({ members }) => ({ members: Array.from(members, ([user, info]) => ({ user, info })), count: members.count })
const nobody = listMembers({ members: new Map() })

/** Returns the members of a channel with presence, and renders the component again when they change. */
export function useMembers(channel) {
  const [shown, setShown] = useState(nobody)

  useEffect(() => {
    const show = () => setShown(channel ? listMembers(channel) : nobody)
    show()
    const offs = channel ? ['members', 'join', 'leave'].map((event) => channel.on(event, show)) : []
    return () => offs.forEach((off) => off())
  }, [channel])

  return shown
}

/** Returns the state of the connection, and renders the component again when it changes. */
export function useRelayState(relay) {
  return useSyncExternalStore(
    (changed) => relay.on('state', changed),
    () => relay.state,
    () => 'connecting', // on a server
  )
}
