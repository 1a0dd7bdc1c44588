import type { Options, Relay } from './sidecast.js'

export interface SidecastConnectorOptions extends Options {
  /** The relay, by default /ws on the host of the page. */
  url?: string
  /** The namespace of events whose names do not begin with a dot, by default App.Events. */
  namespace?: string | false
}

/** A channel of Echo. The event `.sidecast:gap` says that messages may be missing. */
export interface EchoChannel {
  readonly name: string
  listen(event: string, callback: (data: any) => void): this
  listenToAll(callback: (event: string, data: any) => void): this
  stopListening(event: string, callback?: (data: any) => void): this
  stopListeningToAll(callback?: (event: string, data: any) => void): this
  subscribed(callback: () => void): this
  error(callback: (error: any) => void): this
  notification(callback: (notification: any) => void): this
  stopListeningForNotification(callback?: (notification: any) => void): this
  listenForWhisper(event: string, callback: (data: any) => void): this
  stopListeningForWhisper(event: string, callback?: (data: any) => void): this
  whisper(event: string, data: any): this
}

/** A member of a presence channel: the fields of the user's `info`, and the user as `id`. */
export interface EchoMember {
  readonly id: string
  readonly [field: string]: any
}

/** A channel whose members are known. The user has to be logged in. */
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
  socketId(): string
  connectionStatus(): 'connected' | 'connecting' | 'reconnecting' | 'disconnected'
  onConnectionChange(callback: (status: string) => void): () => void
}
