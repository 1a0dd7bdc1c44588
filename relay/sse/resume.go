package sse

import "sidecast/relay/protocol"

// requests returns a request for each channel, with the position from which the
// client resumes. The header Last-Event-ID takes precedence over the URL, which
// EventSource repeats unchanged at each reconnect.
func (s *stream) requests() []protocol.ChannelRequest {
	list := make([]protocol.ChannelRequest, len(s.channels))
	for i, channel := range s.channels {
		list[i].Channel = channel
		if s.query.lastID != "" {
			list[i].After = positionOf(channel, s.query.lastID)
			continue
		}
		list[i].After, list[i].At = s.positionInURL(channel)
		list[i].Since, list[i].Last = s.query.since, s.handler.cfg.Hub.Newest(s.query.last, channel)
	}
	return list
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

// positionOf returns the position of a channel that the id of an event names.
func positionOf(channel, id string) string {
	positions, ok := protocol.ParseEventID(id)
	if !ok {
		return unknownPlace
	}
	tag := protocol.ChannelTag(channel)
	for _, p := range positions {
		if p.Tag == "" || p.Tag == tag {
			return p.Cursor
		}
	}
	return unknownPlace
}
