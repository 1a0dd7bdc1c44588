// What only some channels need: signatures that the page fetches, and members. sidecast.mjs loads this file for them, so
// that it stays small.

/** Prepares a subscription before it is requested. If the promise is rejected, it is prepared again later. */
export default async function prepare(subscription) {
  const { entry, sign } = subscription
  if (sign) Object.assign(entry, proof(await sign(entry.channel)))
  subscription.hear = (frame) => {
    // The signature has expired on its way, so the reason is temporary.
    if (sign && entry.sig && frame.type === 'error' && frame.code === 'unauthorized') frame.code = 'unavailable'
    if (entry.presence) report(frame, subscription)
  }
}

/** The fields of a subscribe for a signature: that of a signed channel is a text, that of an Echo channel has fields. */
function proof(signed) {
  const none = { sig: undefined, auth: undefined, channel_data: undefined }
  return { ...none, ...(typeof signed === 'object' ? signed : { sig: signed }) }
}

/** Applies a frame of the channel to its members, and reports it. */
function report({ type, user, info, members: list = [], count }, { members, handles }) {
  if (type === 'join') {
    members.set(user, info)
  } else if (type === 'leave') {
    info = members.get(user)
    members.delete(user)
  } else if (type === 'subscribed' || type === 'members') {
    members.clear()
    // A part of them would soon be wrong: the relay does not report who joins and leaves then.
    if (list.length === count) for (const { user, info } of list) members.set(user, info)
  } else {
    return
  }
  members.count = count
  // After subscribed, sidecast.mjs reports the members.
  for (const handle of [...handles]) {
    if (type === 'members') handle.emit('members', members)
    else if (user != null) handle.emit(type, { user, info, count })
  }
}
