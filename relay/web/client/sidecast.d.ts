/** The client of a Sidecast relay. */

export interface Options {
  /** Returns the JWT that identifies the user. It is called for every connection, so it can return a new one. */
  token?: () => string | undefined | Promise<string | undefined>
  /** Use Server-Sent Events if two WebSockets in a row were not accepted: a proxy may block them. */
  sse?: boolean
  /**
   * Use one connection for all tabs with the same URL and the same key. The key must stand for the user and the rights:
   * let the server that renders the page write it. It has no effect without Web Locks (plain HTTP, Node).
   */
  share?: string
  /** The class to use instead of the global WebSocket, such as that of the npm package `ws` in Node before 22. */
  WebSocket?: new (url: string | URL, protocols?: string | string[]) => any
}

export interface ChannelOptions {
  /** Begin with this number of the newest messages, 100 at most. */
  last?: number
  /** Begin after this entry of the stream. For durable channels: the id that the application read before its data. */
  since?: string
  /**
   * Loads the state of the page. It runs when the channel is subscribed and after each gap, one run at a time. Messages
   * that arrive while it runs are delivered after it. If it rejects, it runs again later.
   */
  load?: () => unknown
  /**
   * The signature with which the application allows this channel, or a function that returns it, or a promise of it. The
   * function is called for every connection, and when the signature has expired. If it fails, the channel gets an error,
   * and the function is called again later; if the error has a property `final` that is true, on the next connection.
   */
  sig?: string | ((channel: string) => string | Promise<string>)
  /** The user in the signature, if it is for one user only. */
  user?: string
  /** Report the members of the channel. The relay has to allow it, and the user has to be logged in. */
  presence?: boolean
}

/** A user who is subscribed to a channel. `info` is that of the user's login, if it has one. */
export interface Member {
  readonly user: string
  readonly info?: any
}

/** A member who has joined or left, and how many there are now. */
export interface MemberEvent extends Member {
  readonly count: number
}

/** The info of each member, by user. It is empty if there are more than 1,000 members. */
export interface Members extends ReadonlyMap<string, any> {
  /** How many members there are, or undefined until the relay has said it. */
  readonly count?: number
}

/** A message as it was published. */
export interface Message {
  readonly channel: string
  /** Identifies the message: no two messages of a channel have the same cursor. */
  readonly cursor: string
  /** The payload as text. Bytes that are not UTF-8 are replaced by U+FFFD: use bytes() for these. */
  readonly data: string
  /** Parses the payload. */
  json<T = any>(): T
  /** The exact bytes of the payload. */
  bytes(): Uint8Array
}

/** A notice that messages may be missing before the next message. */
export interface Gap {
  /** The channel, or undefined for a gap on all live channels. */
  readonly channel?: string
  readonly reason: 'redis' | 'too_large' | 'history' | 'trimmed' | 'reset' | 'unrecovered'
}

/**
 * An error that the relay reported. `code` is one of the error codes of the protocol, or the reason why the relay has
 * ended a subscription: `expired`, `revoked` or `control`.
 */
export interface SidecastError extends Error {
  code: string
}

export type State = 'connecting' | 'open' | 'redis-offline' | 'waiting' | 'closed'

export interface StateEvent {
  readonly state: State
  /** For `waiting` and `closed`: the close code. */
  readonly code?: number
  /** For `waiting`: milliseconds until the next attempt. */
  readonly retryIn?: number
  /** After `connecting`, if the relay has accepted the connection: its ids, and that of the user who is logged in. */
  readonly session?: string
  readonly user?: string
  readonly socket_id?: string
}

export interface ChannelEvents {
  message: Message
  gap: Gap
  /** With `presence`: the members have been replaced as a whole. The value is `members` of the channel. */
  members: Members
  /** With `presence`: a user has become a member. It is not sent for the user's own devices and tabs. */
  join: MemberEvent
  /** With `presence`: a user is not a member any more, because the last of the user's clients has left. */
  leave: MemberEvent
  /** An error that the relay reported for the channel, or the value with which `load` or `sig` rejected. */
  error: any
}

/** Removes the listener. */
export type Off = () => void

export interface Channel extends AsyncIterable<Message> {
  readonly name: string
  /** With `presence`: the members. While there is no connection, they are those from before. */
  readonly members: Members
  on<E extends keyof ChannelEvents>(event: E, listener: (value: ChannelEvents[E]) => void): Off
  /**
   * Publishes a string, bytes, or the JSON of any other value. Resolves when Redis has the message. With `echo: false`,
   * this connection does not receive it. If it rejects with the code `unavailable` or `rate_limited`, the message may
   * have been published nevertheless.
   */
  publish(data: unknown, options?: { echo?: boolean }): Promise<void>
  /** Ends this channel. The relay's subscription ends with the last channel of its name. */
  close(): void
}

export interface Relay {
  readonly state: State
  on(event: 'state', listener: (value: StateEvent) => void): Off
  /**
   * The relay has subscribed this client to a channel that is not open: the user's own one, or one to which the
   * application has subscribed the user. A listener that opens the channel misses no message.
   */
  on(event: 'subscribed', listener: (value: { readonly channel: string }) => void): Off
  /** Subscribes to a channel. Several channels may have the same name. */
  channel(name: string, options?: ChannelOptions): Channel
  /** Closes the connection and all channels. With `share`, the other tabs keep theirs. */
  close(): void
  /** Like close(), but with `share` it also closes those of all other tabs. The code of the state is 4401. */
  logout(): void
}

/**
 * Connects to a relay, by default to `/ws` on the host of the page. It reconnects and resumes until close() or logout()
 * is called or the relay does not let the client return.
 */
export function connect(url?: string | URL | null, options?: Options): Relay
