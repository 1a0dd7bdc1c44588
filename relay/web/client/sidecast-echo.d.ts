import type { Gap, Options, Relay } from './sidecast.js'

/** What the application answers to /broadcasting/auth. */
export interface SidecastAuthorization {
  auth: string
  channel_data?: string
}

/** The options of Echo, and those of connect() except for `share`. */
export interface SidecastConnectorOptions extends Omit<Options, 'share'> {
  /** The relay, by default /ws on the host of the page. */
  url?: string
  /** The namespace of events whose names do not begin with a dot, by default App.Events. */
  namespace?: string | false
  /**
   * Where the application signs the subscriptions to private and presence channels, by default /broadcasting/auth.
   * Nothing is asked if it is null, or if the relay has no SIDECAST_PUSHER_KEY: the relay then decides by its own rules.
   */
  authEndpoint?: string | null
  /** More headers and parameters of these requests. */
  auth?: { headers?: Record<string, string>; params?: Record<string, string> }
  /** The header X-CSRF-TOKEN, by default that in the meta element csrf-token of the page. */
  csrfToken?: string | null
  /** The header Authorization: Bearer. */
  bearerToken?: string | null
  /** Send cookies to an endpoint of another origin, too. */
  withCredentials?: boolean
  /** Replaces the request, as for pusher-js. */
  authorizer?: (
    channel: { readonly name: string },
    options: any,
  ) => { authorize(socketId: string, callback: (error: any, answer?: SidecastAuthorization | null) => void): void }
}

/**
 * An error of a channel. `code` is one of the protocol's. If the application has refused to sign, it is `forbidden` and
 * there is the `status` of the answer. `unavailable` is temporary: the connector tries again.
 */
export interface EchoError extends Error {
  readonly code: string
  readonly status?: number
}

/** A channel of Echo. */
export interface EchoChannel {
  readonly name: string
  listen(event: string, callback: (data: any, metadata: { user_id?: string }) => void): this
  listenToAll(callback: (event: string, data: any) => void): this
  stopListening(event: string, callback?: (data: any) => void): this
  stopListeningToAll(callback?: (event: string, data: any) => void): this
  subscribed(callback: () => void): this
  error(callback: (error: EchoError) => void): this
  /** Reports that messages may be missing. It is also the event `.sidecast:gap`. */
  gap(callback: (gap: Gap) => void): this
  notification(callback: (notification: any) => void): this
  stopListeningForNotification(callback?: (notification: any) => void): this
  /** On a presence channel, `metadata` has the user who whispers. */
  listenForWhisper(event: string, callback: (data: any, metadata: { user_id?: string }) => void): this
  stopListeningForWhisper(event: string, callback?: (data: any) => void): this
  whisper(event: string, data: any): this
}

/** A member of a presence channel: the fields of the user's `info`, and the user as `id`. */
export interface EchoMember {
  readonly id: string
  readonly [field: string]: any
}

/** A channel whose members are known. */
export interface EchoPresenceChannel extends EchoChannel {
  /** Reports all members: when the channel is subscribed, and after each reconnect. */
  here(callback: (members: EchoMember[]) => void): this
  /** Reports a member that has joined. It is not called for the user's own devices and tabs. */
  joining(callback: (member: EchoMember) => void): this
  /** Reports a member that has left. */
  leaving(callback: (member: EchoMember) => void): this
}

/** The broadcaster of `new Echo({ broadcaster: SidecastConnector })`. */
export class SidecastConnector {
  constructor(options?: SidecastConnectorOptions)
  readonly options: SidecastConnectorOptions
  readonly relay: Relay
  connect(): void
  disconnect(): void
  channel(name: string): EchoChannel
  privateChannel(name: string): EchoChannel
  presenceChannel(name: string): EchoPresenceChannel
  listen(channel: string, event: string, callback: (data: any) => void): EchoChannel
  leave(name: string): void
  leaveChannel(name: string): void
  /** The id of the newest connection, or undefined before the first one. */
  socketId(): string | undefined
  connectionStatus(): 'connected' | 'connecting' | 'reconnecting' | 'disconnected' | 'failed'
  onConnectionChange(callback: (status: string) => void): () => void
}
