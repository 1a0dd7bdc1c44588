package source

// A roster is which subscriptions of one conn are confirmed.
type roster struct {
	names   map[string]bool // by kind and name; true once confirmed
	waiting int             // subscriptions not yet confirmed
	begun   bool            // one was confirmed: this conn is the link
	heard   bool            // the marker channel was
	marker  string          // the key of the marker channel, while its answer is awaited
	longest int             // bytes of the longest name
}

// reset expects the marker channel, unless it is empty, and the patterns.
func (r *roster) reset(marker string, patterns []string) {
	*r = roster{names: make(map[string]bool, len(patterns)+1)}
	if marker != "" {
		r.marker = "subscribe " + marker
		r.names[r.marker] = false
		r.longest = len(marker)
	}
	for _, p := range patterns {
		r.names["psubscribe "+p] = false
		r.longest = max(r.longest, len(p))
	}
	r.waiting = len(r.names)
}

// confirm reports whether this was the last subscription that was missing.
func (r *roster) confirm(kind string, name []byte) bool {
	key := kind + " " + string(name)
	confirmed, ours := r.names[key]
	if !ours || confirmed {
		return false
	}
	r.names[key] = true
	r.begun = true
	r.waiting--
	if key == r.marker {
		r.marker, r.heard = "", true
	}
	return r.waiting == 0
}

// awaitsMarker reports whether the next refusal answers the subscription to the marker channel.
func (r *roster) awaitsMarker() bool { return r.marker != "" }

// withoutMarker goes on with the patterns alone, and reports whether they are all confirmed.
func (r *roster) withoutMarker() bool {
	delete(r.names, r.marker)
	r.waiting--
	r.marker = ""
	return r.waiting == 0
}
