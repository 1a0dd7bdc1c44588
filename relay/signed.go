package relay

import (
	"container/heap"
	"strings"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// hasSignature reports whether a client presents a signature for a channel that
// the relay can verify. The signature alone decides then: another right of the
// client would otherwise hide that the signature is wrong.
func (h *Hub) hasSignature(signature access.Signature) bool {
	return signature.Sig != "" && h.cfg.Access.Secrets != nil
}

// signatureOf returns the signature in a request.
func signatureOf(request protocol.ChannelRequest) access.Signature {
	return access.Signature{Sig: request.Sig, User: request.User}
}

// verifySignature decides about a channel for which the client presents a
// signature.
func (h *Hub) verifySignature(id *access.Identity, channel string, signature access.Signature) grant {
	if code := h.cfg.Access.Relayed(channel); code != protocol.CodeOK {
		return grant{code: code}
	}
	until, ok := h.cfg.Access.Secrets.Verify(channel, signature)
	switch {
	case !ok:
		return grant{code: protocol.CodeForbidden, why: protocol.ReasonSignature}
	case !isFor(signature.User, id):
		return grant{code: protocol.CodeForbidden, why: protocol.ReasonSignatureUser}
	case !until.After(time.Now()):
		return grant{code: protocol.CodeUnauthorized, why: protocol.ReasonSignatureOld}
	}
	// The user may be a part of a long URL.
	return grant{until: until, signed: true, user: strings.Clone(signature.User)}
}

// isFor reports whether a signature for a user, or for every client if user is
// empty, is for the client with this identity.
func isFor(user string, id *access.Identity) bool { return user == "" || id == nil || user == id.User }

// A signedQueue holds the subscriptions of a shard that were opened by a
// signature, the one that ends first at the front. It is a [heap.Interface].
type signedQueue []*Subscription

func (q signedQueue) Len() int           { return len(q) }
func (q signedQueue) Less(i, j int) bool { return q[i].grant.ends < q[j].grant.ends }
func (q signedQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].grant.index, q[j].grant.index = i, j
}

// Push implements [heap.Interface].
func (q *signedQueue) Push(sub any) {
	added := sub.(*Subscription)
	added.grant.index = len(*q)
	*q = append(*q, added)
}

// Pop implements [heap.Interface].
func (q *signedQueue) Pop() any {
	last := len(*q) - 1
	sub := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	sub.grant.index = -1
	return sub
}

// add adds a subscription if it was opened by a signature.
func (q *signedQueue) add(sub *Subscription) {
	if g := sub.grant; g != nil && g.expires() {
		g.ends = sub.session.deadline(g.until)
		heap.Push(q, sub)
	}
}

// remove removes a subscription if it is in the queue.
func (q *signedQueue) remove(sub *Subscription) {
	if g := sub.grant; g != nil && g.expires() && g.index >= 0 {
		heap.Remove(q, g.index)
	}
}

// extend lets a subscription that a signature opened last as long as another
// one allows.
func (q *signedQueue) extend(sub *Subscription, g *grant) {
	if sub.grant == nil || !sub.grant.expires() || g == nil || !g.expires() || sub.grant.index < 0 {
		return
	}
	if g.until.After(sub.grant.until) {
		sub.grant.until = g.until
	}
	sub.grant.ends = sub.session.deadline(sub.grant.until)
	heap.Fix(q, sub.grant.index)
}

// endExpired ends the subscriptions whose signature has expired. The shard is
// locked.
func (s *shard) endExpired(now int64) {
	for len(s.signed) > 0 && now >= s.signed[0].grant.ends-int64(sweepEvery/2) {
		s.hub.endSigned(heap.Pop(&s.signed).(*Subscription))
	}
}

// endSigned ends a subscription whose signature has expired, and notifies the
// client: by an event, by the error that answers its subscribe, or by closing
// the connection if the protocol has neither. The shard is locked.
func (h *Hub) endSigned(sub *Subscription) {
	s := sub.session
	event := protocol.Event{Type: protocol.EventUnsubscribed, Channel: sub.channel.Name(), Ended: protocol.EndExpired}
	if sub.is(subscribePending) && sub.resume != nil {
		event.Type, event.Ref, event.Command = protocol.EventError, sub.resume.ref, protocol.CommandSubscribe
		event.Code, event.Message = protocol.CodeUnauthorized, protocol.ReasonSignatureOld.String()
	}
	notice := s.protocol.Event(event)
	if notice == nil {
		s.closeLocked(protocol.CloseUnauthorized.Because(protocol.ReasonSignatureOld))
		return
	}
	if event.Type == protocol.EventError {
		s.count(protocol.CommandSubscribe, event.Code)
	}
	h.endSubscription(sub, subscribeFailed, notice) // the session forgets it with its next command
}

// isSignedForOther reports whether a signature opened the subscription to
// another user than that of g, which may be nil.
func (sub *Subscription) isSignedForOther(g *grant) bool {
	return g != nil && g.signed && sub.grant != nil && sub.grant.signed && sub.grant.user != g.user
}
