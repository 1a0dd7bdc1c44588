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

	services []string // the channels of the services, in the order of their subscriptions; "" for none
	refused  []bool   // those that Redis has refused
	answered int      // how many of services Redis has answered, or have no channel
}

// reset expects confirmations for the channels of the services, for the marker
// channel, unless it is empty, and for the patterns.
func (s *pendingSubscriptions) reset(services []string, marker string, patterns []string) {
	*s = pendingSubscriptions{
		confirmed: make(map[string]bool, len(services)+1+len(patterns)),
		services:  services, refused: make([]bool, len(services)),
	}
	for _, name := range services {
		if name != "" {
			s.confirmed["subscribe "+name] = false
			s.maxNameLen = max(s.maxNameLen, len(name))
		}
	}
	s.skipServices()
	if marker != "" {
		s.markerKey = "subscribe " + marker
		s.confirmed[s.markerKey] = false
		s.maxNameLen = max(s.maxNameLen, len(marker))
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
	s.pending--
	if s.awaitsService() {
		s.nextService() // Redis answers in order
		return s.pending == 0
	}
	s.anyConfirmed = true
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

// awaitsService reports whether the next answer is to the subscription of a
// service, because they are sent first.
func (s *pendingSubscriptions) awaitsService() bool { return s.answered < len(s.services) }

func (s *pendingSubscriptions) nextService() {
	s.answered++
	s.skipServices()
}

// skipServices steps over services without a channel.
func (s *pendingSubscriptions) skipServices() {
	for s.awaitsService() && s.services[s.answered] == "" {
		s.answered++
	}
}

// withoutService records that Redis has refused the next subscription of a
// service, and returns its channel. There is at least one more answer to come,
// because there is a pattern.
func (s *pendingSubscriptions) withoutService() (channel string) {
	channel = s.services[s.answered]
	s.refused[s.answered] = true
	delete(s.confirmed, "subscribe "+channel)
	s.pending--
	s.nextService()
	return channel
}

// hears reports whether the link is subscribed to the channel of service i.
func (s *pendingSubscriptions) hears(i int) bool { return s.services[i] != "" && !s.refused[i] }
