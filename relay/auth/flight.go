package auth

import "net/netip"

// A requester is the party to which the relay charges a question: the user, or
// the client's address as long as the user is not known. A connection from an
// address without limits is a requester by itself, because such an address may
// be a proxy, and its clients would share one turn.
type requester struct {
	user       string
	address    netip.Addr // as [Proxies.Limited] returns it
	connection uint64     // a number that no other connection has
}

// A flight is one question to the application, with all callers that need its
// answer. It is charged to the requester that asked first.
type flight struct {
	client    *authClient
	requester requester
	key       cacheKey
	question  question

	callers int           // that wait for the answer; guarded by requestPool.mu
	done    chan struct{} // closed when there is an answer
	answer  answer        // written before done is closed
}

// end gives the answer to all callers. The next caller with the same question
// starts a new flight. Its caller holds requestPool.mu.
func (f *flight) end(a answer) {
	delete(f.client.flights, f.key)
	f.answer = a
	close(f.done)
}
