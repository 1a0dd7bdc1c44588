import type { MaybeRefOrGetter, Ref, ShallowRef } from 'vue'
import type { Channel, ChannelOptions, Gap, Message, Relay, State } from './sidecast.js'

export interface UseChannelOptions extends ChannelOptions {
  onMessage?: (message: Message) => void
  onGap?: (gap: Gap) => void
  /** Without it, errors are logged. */
  onError?: (error: any) => void
}

/**
 * Subscribes to a channel until the component is unmounted, and returns a ref of the channel. The name may be a ref or a
 * getter: when it changes, the old channel is closed. Without a name, there is no channel.
 */
export function useChannel(
  relay: Relay,
  name: MaybeRefOrGetter<string | null | undefined>,
  options?: UseChannelOptions,
): ShallowRef<Channel | null>

/** Returns a ref of the state of the connection. */
export function useRelayState(relay: Relay): Readonly<Ref<State>>
