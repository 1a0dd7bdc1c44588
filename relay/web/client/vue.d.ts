import type { MaybeRefOrGetter, Ref, ShallowRef } from 'vue'
import type { Channel, ChannelOptions, Gap, Member, Message, Relay, State } from './sidecast.js'

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

/** Who is in a channel. There is no list if there are more than 1,000 members. */
export interface ShownMembers {
  readonly members: readonly Member[]
  /** How many members there are, or undefined until the relay has said it. */
  readonly count?: number
}

/** Returns a ref of the members of a channel with presence. The channel may be a ref, such as that of useChannel. */
export function useMembers(channel: MaybeRefOrGetter<Channel | null | undefined>): Readonly<Ref<ShownMembers>>

/** Returns a ref of the state of the connection. */
export function useRelayState(relay: Relay): Readonly<Ref<State>>
