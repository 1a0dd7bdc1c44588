import type { Channel, ChannelOptions, Gap, Member, Message, Relay, State } from './sidecast.js'

export interface UseChannelOptions extends ChannelOptions {
  onMessage?: (message: Message) => void
  onGap?: (gap: Gap) => void
  /** Without it, errors are logged. */
  onError?: (error: any) => void
}

/**
 * Subscribes to a channel while the component is mounted, and returns the channel, or null before. The handlers and the
 * load of the latest render are called. Without a name, there is no channel.
 */
export function useChannel(relay: Relay, name: string | null | undefined, options?: UseChannelOptions): Channel | null

/** Who is in a channel. There is no list if there are more than 1,000 members. */
export interface ShownMembers {
  readonly members: readonly Member[]
  /** How many members there are, or undefined until the relay has said it. */
  readonly count?: number
}

/** Returns the members of a channel with presence, and renders the component again when they change. */
export function useMembers(channel: Channel | null | undefined): ShownMembers

/** Returns the state of the connection, and renders the component again when it changes. */
export function useRelayState(relay: Relay): State
