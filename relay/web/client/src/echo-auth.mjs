// Asks the application to sign the subscriptions to private and presence channels, as pusher-js does.

const AT_ONCE = 6 // requests
const PATIENCE = 30_000 // ms, for one answer
const COLLECT = 50 // ms
const BATCH_LENGTH = 3000 // of entries in JSON, so that they are one subscribe, far below the relay's limit
const ENTRY_LENGTH = 150 // of an entry of a subscribe, without its signature

const REPEATABLE = [408, 425, 429]

/** An error of a channel, like those of pusher-js. A final one is not tried again on the same connection. */
function failure(message, status) {
  const final = status < 500 && !REPEATABLE.includes(status)
  return Object.assign(new Error(message), { code: final ? 'forbidden' : 'unavailable', type: 'AuthError', status, final })
}

/** Gets the signatures for one connection: a signature counts for one socket id. */
export class Authorizer {
  #options
  #socketId
  #closed = false
  #waiting = []
  #running = new Set() // { abort, timer }
  #settled = [] // results: { settle, length }
  #timer

  constructor(options, socketId) {
    this.#options = options
    this.#socketId = socketId
  }

  /** Returns a promise of the fields of a subscribe. It is pending forever if the connection ends before. */
  authorize(channel) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ channel, resolve, reject })
      this.#next()
    })
  }

  /** The connection has ended. */
  close() {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#waiting = []
    for (const request of this.#running) end(request)
  }

  #next() {
    while (this.#running.size < AT_ONCE && this.#waiting.length) this.#run(this.#waiting.shift())
  }

  async #run({ channel, resolve, reject }) {
    const request = { abort: new AbortController() }
    this.#running.add(request)
    const late = new Promise((_, reject) => {
      request.timer = setTimeout(() => reject(failure('the application has not answered')), PATIENCE)
    })
    let settle
    let length = 0
    try {
      const { auth, channel_data } = await Promise.race([this.#ask(channel, request.abort.signal), late])
      settle = () => resolve({ auth, channel_data })
      length = JSON.stringify({ channel, auth, channel_data }).length + ENTRY_LENGTH
    } catch (error) {
      settle = () => reject(error)
    }
    end(request)
    this.#running.delete(request)
    if (this.#closed) return
    this.#next()
    this.#collect(settle, length)
  }

  /** Hands results over together, because each time is one command, and the relay limits their rate. */
  #collect(settle, length) {
    this.#settled.push({ settle, length })
    const last = !this.#running.size
    if (last) clearTimeout(this.#timer)
    if (last || !this.#timer) this.#timer = setTimeout(() => this.#handOver(), last ? 0 : COLLECT)
  }

  #handOver() {
    const results = this.#settled
    for (let sum = 0; results.length && (!sum || sum + results[0].length <= BATCH_LENGTH); ) {
      const { settle, length } = results.shift()
      sum += length
      settle()
    }
    // Later, because the client joins what is settled at the same time.
    this.#timer = results.length ? setTimeout(() => this.#handOver()) : undefined
  }

  #ask(channel, signal) {
    const { authorizer } = this.#options
    return authorizer ? this.#custom(authorizer, channel) : this.#post(channel, signal)
  }

  /** The option with which an application replaces the request, as for pusher-js. */
  async #custom(authorizer, name) {
    try {
      return check(
        await new Promise((resolve, reject) => {
          authorizer({ name }, this.#options).authorize(this.#socketId, (error, answer) => (error ? reject(error) : resolve(answer)))
        }),
      )
    } catch (error) {
      if (error?.type === 'AuthError') throw error
      throw failure(String(error?.message || error), error?.status ?? error?.response?.status)
    }
  }

  async #post(channel, signal) {
    const { authEndpoint = '/broadcasting/auth', auth, withCredentials } = this.#options
    let response, answer
    try {
      response = await fetch(authEndpoint, {
        method: 'POST',
        headers: this.#headers(),
        credentials: withCredentials ? 'include' : 'same-origin',
        body: new URLSearchParams({ ...auth?.params, socket_id: this.#socketId, channel_name: channel }),
        signal,
      })
      if (response.ok) answer = await response.text()
    } catch (error) {
      throw failure(`${authEndpoint}: ${error.message}`)
    }
    if (!response.ok) throw failure(`${authEndpoint} has answered with status ${response.status}`, response.status)
    try {
      answer = JSON.parse(answer)
    } catch {
      // such as the page of a login, to which the application has redirected
    }
    return check(answer, response.status)
  }

  /** The headers of Echo. The token may have changed since the page was loaded. */
  #headers() {
    const { auth, csrfToken, bearerToken } = this.#options
    const headers = new Headers({ Accept: 'application/json' })
    const csrf =
      globalThis.Laravel?.csrfToken ||
      csrfToken ||
      globalThis.document?.querySelector?.('meta[name="csrf-token"]')?.getAttribute('content')
    if (csrf) headers.set('X-CSRF-TOKEN', csrf)
    if (bearerToken) headers.set('Authorization', 'Bearer ' + bearerToken)
    for (const [name, value] of Object.entries(auth?.headers || {})) headers.set(name, value)
    return headers
  }
}

function end({ abort, timer }) {
  clearTimeout(timer)
  abort.abort()
}

function check(answer, status = 200) {
  if (typeof answer?.auth !== 'string') throw failure('the answer of the application has no signature', status)
  return answer
}
