// The members of a channel, as the relay has reported them: the leader tells them to tabs that join later.

export const REPORTS = ['join', 'leave', 'members'] // types of frames

export class Roster {
  #members = new Map()
  #count

  /** Applies a frame: one of REPORTS, or `subscribed`. */
  apply({ type, user, info, members = [], count }) {
    if (type === 'join') this.#members.set(user, { user, info })
    else if (type === 'leave') this.#members.delete(user)
    else this.#members = new Map(members.map((member) => [member.user, member]))
    this.#count = count
  }

  /** The fields of a frame with all members. */
  get fields() {
    return { members: [...this.#members.values()], count: this.#count }
  }
}
