/** The transport that sidecast.mjs loads with the option `sse`. It has the part of WebSocket's interface that it uses. */
export default class EventStreams {
  constructor(url: string | URL, protocols: string[])
  onmessage: (event: { data: string }) => void
  onclose: (event: { code: number }) => void
  send(text: string): void
  close(): void
}
