package sse

import (
	"cmp"
	"strings"

	"sidecast/relay"
	"sidecast/relay/protocol"
)

// subscribe subscribes the session. Its live channels share the id of events: a
// browser repeats only the last one.
func (s *stream) subscribe() {
	if s.handler.cfg.Access.Durable.Match(s.channels[0]) {
		s.session.Subscribe(s.requests())
		return
	}
	anchor := s.anchor()
	requests := s.requests()
	if anchor != (relay.Anchor{}) {
		for i := range requests {
			requests[i] = protocol.ChannelRequest{Channel: requests[i].Channel}
		}
	}
	s.session.SubscribeTogether(requests, anchor)
}

// anchor returns the position on all channels that the last id names, or none if
// there is no id, or if it names a position for each channel.
func (s *stream) anchor() (anchor relay.Anchor) {
	if s.query.lastID == "" || len(s.channels) == 1 {
		return anchor
	}
	positions, ok := protocol.ParseEventID(s.query.lastID)
	switch {
	case !ok:
		return relay.Anchor{Cursor: unknownPlace}
	case len(positions) > 1:
		return anchor
	case positions[0].Tag == "":
		return relay.Anchor{Cursor: positions[0].Cursor}
	}
	for _, channel := range s.channels {
		if protocol.ChannelTag(channel) == positions[0].Tag {
			if anchor.Channel != "" {
				return relay.Anchor{Cursor: unknownPlace} // the tag stands for two channels
			}
			anchor = relay.Anchor{Channel: channel, Cursor: positions[0].Cursor}
		}
	}
	if anchor.Channel == "" {
		return relay.Anchor{Cursor: unknownPlace}
	}
	return anchor
}

// unknownPlace is a position that is none: a client that resumes from it gets a
// gap.
const unknownPlace = "unknown"

// requests returns a request for each channel, with the position from which the
// client resumes. The header Last-Event-ID takes precedence over the URL, which
// EventSource repeats unchanged at each reconnect.
func (s *stream) requests() []protocol.ChannelRequest {
	list := make([]protocol.ChannelRequest, len(s.channels))
	var cursors map[string]string
	if s.query.lastID != "" {
		cursors = s.positions()
	}
	for i, channel := range s.channels {
		list[i].Channel = channel
		if s.query.lastID != "" {
			list[i].After = cmp.Or(cursors[""], cursors[protocol.ChannelTag(channel)], unknownPlace)
			continue
		}
		list[i].After, list[i].At = s.positionInURL(channel)
		list[i].Since, list[i].Last = s.query.since, s.handler.cfg.Hub.Newest(s.query.last, channel)
	}
	return list
}

// positions returns the cursors that the last id names, by the tags of their
// channels; the tag of one that is valid for all channels is empty. A client can
// send a long id, so each of its parts is read only once.
func (s *stream) positions() map[string]string {
	list, ok := protocol.ParseEventID(s.query.lastID)
	if !ok {
		return nil
	}
	cursors := make(map[string]string, min(len(list), len(s.channels)))
	for _, p := range list {
		if cursors[p.Tag] != "" {
			p.Cursor = unknownPlace // the tag stands for two channels
		}
		cursors[p.Tag] = p.Cursor
	}
	return cursors
}

// positionInURL returns the cursors that the URL has for a channel.
func (s *stream) positionInURL(channel string) (after, at string) {
	for i, name := range s.query.channels {
		if name == channel {
			return nth(s.query.after, i), nth(s.query.at, i)
		}
	}
	if len(s.channels) == 1 {
		return nth(s.query.after, 0), nth(s.query.at, 0) // the URL names no channel
	}
	return "", ""
}

func nth(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// isID reports whether an after in a URL is the id of an event: a page that opens
// a new stream can only put it into the URL.
func isID(after string) bool { return strings.Contains(after, "~") }
