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

/** The relay does not report members, so the callbacks are not called. */
export interface EchoPresenceChannel extends EchoChannel {
  here(callback: (members: any[]) => void): this
  joining(callback: (member: any) => void): this
  leaving(callback: (member: any) => void): this
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
