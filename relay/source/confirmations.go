package source

// pendingSubscriptions tracks which subscriptions of one connection Redis has
// confirmed.
type pendingSubscriptions struct {
	confirmed       map[string]bool // by kind and name
	pending         int             // subscriptions that are not confirmed yet
	anyConfirmed    bool            // at least one is confirmed: the connection is the link's
	markerConfirmed bool            // the marker channel's is confirmed
	markerKey       string          // the key of the marker channel until Redis has answered its subscription, then empty
	maxNameLen      int             // bytes of the longest name
}

// reset expects confirmations for the marker channel, unless it is empty, and
// for the patterns.
func (s *pendingSubscriptions) reset(marker string, patterns []string) {
	*s = pendingSubscriptions{confirmed: make(map[string]bool, len(patterns)+1)}
	if marker != "" {
		s.markerKey = "subscribe " + marker
		s.confirmed[s.markerKey] = false
		s.maxNameLen = len(marker)
	}
	for _, p := range patterns {
		s.confirmed["psubscribe "+p] = false
		s.maxNameLen = max(s.maxNameLen, len(p))
	}
	s.pending = len(s.confirmed)
}

// confirm records a confirmation and reports whether it was the last one
// missing.
func (s *pendingSubscriptions) confirm(kind string, name []byte) bool {
	key := kind + " " + string(name)
	confirmed, expected := s.confirmed[key]
	if !expected || confirmed {
		return false
	}
	s.confirmed[key] = true
	s.anyConfirmed = true
	s.pending--
	if key == s.markerKey {
		s.markerKey, s.markerConfirmed = "", true
	}
	return s.pending == 0
}

// awaitsMarker reports whether the next error reply answers the subscription to
// the marker channel.
func (s *pendingSubscriptions) awaitsMarker() bool { return s.markerKey != "" }

// withoutMarker stops waiting for the marker channel and reports whether all
// patterns are confirmed.
func (s *pendingSubscriptions) withoutMarker() bool {
	delete(s.confirmed, s.markerKey)
	s.pending--
	s.markerKey = ""
	return s.pending == 0
}
