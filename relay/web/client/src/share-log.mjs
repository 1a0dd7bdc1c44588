// The recent frames of a shared connection. Every tab keeps them, so that any tab can become the leader and serve tabs
// that have received a little less.

const FRAMES = 1000
const CHARACTERS = 1 << 20 // of all frames; 2 bytes each at most

const size = ({ text = '' }) => text.length + 200

/**
 * An item is a frame of the relay: { id, leader, type, channel, cursor, text }. The items of type `subscribed` and
 * `position` have no text: the tabs only need to know of them.
 */
export class Log {
  #items = []
  #size = 0
  #channels = new Map() // by name: the leader that sent the items, the cursor before the first of them, durable

  add(item) {
    const { type, channel, leader } = item
    if (type === 'subscribed') return this.restart(channel, item)
    if (type !== 'message' && type !== 'gap' && type !== 'position') return
    // Between the items of two leaders, some may be missing.
    if (channel && this.#channels.get(channel)?.leader !== leader) this.restart(channel, { leader })
    this.#items.push(item)
    this.#size += size(item)
    while (this.#items.length > FRAMES || this.#size > CHARACTERS) this.#drop()
  }

  #drop() {
    const { type, channel, cursor, ...item } = this.#items.shift()
    this.#size -= size(item)
    for (const [name, known] of this.#channels) {
      // A tab that is before a gap without a cursor must not miss it.
      if (name === channel || (!channel && !known.durable)) known.before = cursor
    }
  }

  /** The channel was subscribed to again, at a cursor: what has followed it will be sent again. */
  restart(channel, { after, durable, leader }) {
    const repeated = after && this.after(channel, after)
    const before = repeated && this.#channels.get(channel).before
    this.#items = this.#items.filter((item) => item.channel !== channel || (repeated && !repeated.includes(item)))
    this.#size = this.#items.reduce((sum, item) => sum + size(item), 0)
    this.#channels.set(channel, { leader, durable, before })
    if (after && !repeated) this.add({ type: 'position', channel, cursor: after, leader })
  }

  /**
   * Returns what has followed a cursor on a channel, or undefined if the cursor is not known. A tab that has already
   * received a gap without a cursor names its id.
   */
  after(channel, cursor, gap) {
    const known = this.#channels.get(channel)
    let found = known?.before === cursor ? [] : undefined
    for (const item of this.#items) {
      if (item.channel ? item.channel !== channel : known?.durable) continue
      if (item.channel && item.cursor === cursor) found = []
      else if (found && gap && item.id === gap) found = []
      else if (found) found = [...found.filter(({ id }) => id !== item.id), item] // the newest: see #missed
    }
    return found
  }

  /** Returns the cursors from which only messages lead to a cursor. */
  trail(channel, to) {
    const known = this.#channels.get(channel)
    const cursors = new Set([known?.before])
    for (const { type, channel: name, cursor } of this.#items) {
      if (name ? name !== channel : known?.durable) continue
      if (type === 'gap') cursors.clear()
      if (cursor === to) return cursors
      cursors.add(cursor)
    }
    return new Set()
  }

  clear() {
    this.#items = []
    this.#size = 0
    this.#channels.clear()
  }
}
