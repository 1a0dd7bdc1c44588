// Composables for Vue.
import { onScopeDispose, readonly, shallowRef, toValue, watch } from 'vue'

/**
 * Subscribes to a channel until the component is unmounted, and returns a ref of the channel. The name may be a ref or a
 * getter: when it changes, the old channel is closed. Without a name, there is no channel.
 */
export function useChannel(relay, name, { onMessage, onGap, onError, ...options } = {}) {
  const channel = shallowRef(null)

  watch(
    () => toValue(name),
    (name, _, onCleanup) => {
      channel.value = null
      if (!name) return
      const opened = relay.channel(name, options)
      if (onMessage) opened.on('message', onMessage)
      if (onGap) opened.on('gap', onGap)
      if (onError) opened.on('error', onError)
      channel.value = opened
      onCleanup(() => opened.close())
    },
    { immediate: true },
  )

  return channel
}

const listMembers = ({ members }) => ({ members: Array.from(members, ([user, info]) => ({ user, info })), count: members.count })
const nobody = listMembers({ members: new Map() })

/** Returns a ref of the members of a channel with presence. The channel may be a ref, such as that of useChannel. */
export function useMembers(channel) {
  const shown = shallowRef(nobody)

  watch(
    () => toValue(channel),
    (channel, _, onCleanup) => {
      const show = () => (shown.value = channel ? listMembers(channel) : nobody)
      show()
      const offs = channel ? ['members', 'join', 'leave'].map((event) => channel.on(event, show)) : []
      onCleanup(() => offs.forEach((off) => off()))
    },
    { immediate: true },
  )

  return readonly(shown)
}

/** Returns a ref of the state of the connection. */
export function useRelayState(relay) {
  const state = shallowRef(relay.state)
  onScopeDispose(relay.on('state', (event) => (state.value = event.state)))
  return readonly(state)
}
