package relaytest

import "time"

// A simClient is a [Traveller] of the simulated world.
type simClient struct {
	w        *sim
	name     string
	channels []string
	cursors  Cursors
	sessions []Session
	conn     *simConn // nil between connections
}

// connect goes to a relay, or tries again later.
func (c *simClient) connect() {
	w := c.w
	r := w.relays[w.random.IntN(len(w.relays))]
	if !r.up || r.draining || w.roll > 0 && !r.ready {
		w.after(w.upTo(time.Second), c.connect)
		return
	}
	conn := &simConn{w: w, client: c, slow: w.uplink}
	if w.oneIn(8) {
		conn.slow *= 20
	}
	s := &simSession{relay: r, shard: r.shards[w.random.IntN(len(r.shards))], client: c, conn: conn, subs: make(map[string]*simSub)}
	conn.session, c.conn = s, conn
	r.sessions = append(r.sessions, s)
	c.sessions = append(c.sessions, Session{Client: c.name, Relay: r.name})
	c.note(Event{Kind: KindOpened})
	s.send(Event{Kind: KindWelcome, Text: "sim", Offline: !r.ready})
	w.repeat(w.upTo(w.heartbeat), func() (time.Duration, bool) {
		s.heartbeat()
		return w.heartbeat*9/10 + w.upTo(w.heartbeat/5), !s.over
	})
	for _, channel := range c.channels {
		wish := c.cursors.Wish(channel)
		c.note(Event{Kind: KindSent, Text: "subscribe", Channel: channel, Cursor: wish.After, Data: wish.At})
		conn.ask(func() { s.subscribe(wish) })
	}
	if w.roll > 0 {
		return
	}
	stay := w.about(w.stay)
	if w.oneIn(3) {
		stay = w.upTo(300 * time.Millisecond)
	}
	w.after(stay, func() {
		if !w.calm && c.conn == conn {
			c.leave()
		}
	})
}

// note writes the log, and keeps the cursors.
func (c *simClient) note(e Event) {
	if len(c.sessions) == 0 || e.Kind == 0 {
		return
	}
	s := &c.sessions[len(c.sessions)-1]
	e.N, e.At = len(s.Events), c.w.time()
	s.Events = append(s.Events, e)
	before := make(map[string]string)
	for _, w := range c.cursors.Wishes() {
		before[w.Channel] = w.At
	}
	c.cursors.Hear(e)
	switch {
	case c.w.is("client keeps at behind a message") && e.Kind == KindMessage:
		c.cursors.of(e.Channel).at = before[e.Channel]
	case c.w.is("client counts heartbeats before subscribed") && e.Kind == KindHeartbeat && e.Cursor != "":
		for _, channel := range c.channels {
			c.cursors.of(channel).at = e.Cursor
		}
	}
}

func (c *simClient) hear(conn *simConn, e Event) {
	if c.conn != conn {
		return
	}
	c.note(e)
}

// ended is the relay's or the network's doing.
func (c *simClient) ended(conn *simConn) {
	conn.over = true
	c.note(Event{Kind: KindEnd, Code: 1006})
	c.conn = nil
	c.w.after(c.w.upTo(2*time.Second), c.connect)
}

// leave breaks the connection, with whatever is on its way; or the path goes dead, which takes a while to notice.
func (c *simClient) leave() {
	conn := c.conn
	conn.over = true
	c.note(Event{Kind: KindAborted, Text: "cut"})
	c.w.after(c.w.upTo(time.Second), func() {
		if !conn.session.over {
			conn.session.end()
		}
	})
	notice := time.Duration(0)
	if c.w.oneIn(4) {
		notice = c.w.upTo(10 * time.Second)
	}
	c.w.after(notice, func() {
		c.note(Event{Kind: KindEnd, Code: 1006})
		c.conn = nil
		c.w.after(c.w.upTo(3*time.Second), c.connect)
	})
}
