package relaytest

import "slices"

// simShard hands out what has come in, some time later, in batches.
type simShard struct {
	relay   *simRelay
	mailbox []simPost
	due     bool
	flushed int    // the last sequence handed out
	mark    string // the last marker handed out; empty before the first of this epoch
}

// simPost is an item that is to be handed out.
type simPost struct {
	simItem
	seq    int
	cursor string
}

func (r *simRelay) post(p simPost) int {
	r.seq++
	p.seq = r.seq
	for _, shard := range r.shards {
		shard.post(p)
	}
	return r.seq
}

func (h *simShard) post(p simPost) {
	h.mailbox = append(h.mailbox, p)
	if !h.due {
		h.due = true
		life := h.relay.lives
		h.relay.w.after(h.relay.w.upTo(h.relay.w.shard), func() {
			if h.relay.lives == life && h.relay.up {
				h.flush()
			}
		})
	}
}

// flush hands out all that waits.
func (h *simShard) flush() {
	h.due = false
	batch := h.mailbox
	h.mailbox = nil
	if h.relay.w.is("idle shard passes no markers") && !h.concerned(batch) {
		return
	}
	for _, p := range batch {
		switch p.kind {
		case simMark:
			h.mark = p.mark
		case simEpoch:
			h.mark = ""
		}
		for _, s := range slices.Clone(h.relay.sessions) {
			if s.shard == h {
				s.take(p)
			}
		}
		h.flushed = p.seq
	}
}

// concerned reports whether anything in the batch is for one of the shard's sessions.
func (h *simShard) concerned(batch []simPost) bool {
	return slices.ContainsFunc(batch, func(p simPost) bool {
		return p.kind == simEpoch || slices.ContainsFunc(h.relay.sessions, func(s *simSession) bool {
			return s.shard == h && s.subs[p.channel] != nil
		})
	})
}
