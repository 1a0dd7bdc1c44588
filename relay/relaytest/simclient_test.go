package relaytest

import (
	"strconv"
	"strings"
	"time"
)

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
	if !r.up || r.draining || w.trouble == 0 && !r.ready {
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
		c.subscribe(conn, c.cursors.Wish(channel))
	}
	if w.again > 0 {
		w.repeat(w.about(w.again), func() (time.Duration, bool) {
			c.again(conn)
			return w.about(w.again), c.conn == conn
		})
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

func (c *simClient) subscribe(conn *simConn, wish Wish) {
	if c.w.forges > 0 && wish.After != "" && c.w.oneIn(c.w.forges) {
		wish.After = forged(wish.After)
	}
	c.note(Event{Kind: KindSent, Text: "subscribe", Channel: wish.Channel, Cursor: wish.After, Data: wish.At})
	conn.ask(func() { conn.session.subscribe(wish) })
}

// forged is the cursor with the next index.
func forged(cursor string) string {
	parts := strings.Split(cursor, "/")
	index, _ := strconv.Atoi(parts[2])
	parts[2] = strconv.Itoa(index + 1)
	return strings.Join(parts, "/")
}

// again gives up a channel, and asks for it anew when the relay has confirmed that: see hear.
func (c *simClient) again(conn *simConn) {
	if c.conn != conn || c.w.calm {
		return
	}
	channel := c.channels[c.w.random.IntN(len(c.channels))]
	c.note(Event{Kind: KindSent, Text: "unsubscribe", Channel: channel})
	conn.ask(func() { conn.session.unsubscribe(channel) })
	if c.w.is("client subscribes before unsubscribed") {
		c.subscribe(conn, c.cursors.Wish(channel))
	}
}

// note writes the log, and keeps the cursors.
func (c *simClient) note(e Event) {
	if len(c.sessions) == 0 || e.Kind == 0 {
		return
	}
	s := &c.sessions[len(c.sessions)-1]
	e.N, e.At = len(s.Events), c.w.time()
	s.Events = append(s.Events, e)
	before := c.cursors.Wish(e.Channel)
	c.cursors.Hear(e)
	switch {
	case c.w.is("client keeps at behind a message") && e.Kind == KindMessage:
		c.cursors.of(e.Channel).at = before.At
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
	wish := c.cursors.Wish(e.Channel)
	c.note(e)
	if e.Kind != KindUnsubscribed {
		return
	}
	*c.cursors.of(e.Channel) = remembered{after: wish.After, at: wish.At} // it will be back
	if !c.w.is("client subscribes before unsubscribed") {
		c.w.after(c.w.upTo(500*time.Millisecond), func() {
			if c.conn == conn {
				c.subscribe(conn, wish)
			}
		})
	}
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

// A simConn is the network between a client and a relay.
type simConn struct {
	w         *sim
	client    *simClient
	session   *simSession
	slow      time.Duration
	come, go_ time.Duration // when the last frame and the last command get there
	sent      int           // frames
	dropped   int           // the first so many of them, if they have not come by now
	over      bool          // the client hears nothing any more
}

// drop lets go of all frames that wait.
func (c *simConn) drop() { c.dropped = c.sent }

// send lets a frame come to the client.
func (c *simConn) send(e Event) {
	e.Sent = c.w.time()
	c.sent++
	n := c.sent
	c.come = max(c.come, c.w.now+c.w.upTo(c.slow))
	c.w.after(c.come-c.w.now, func() {
		if !c.over && n > c.dropped {
			c.client.hear(c, e)
		}
	})
}

// ask lets a command come to the relay.
func (c *simConn) ask(do func()) {
	c.go_ = max(c.go_, c.w.now+c.w.upTo(c.slow))
	c.w.after(c.go_-c.w.now, func() {
		if !c.session.over {
			do()
		}
	})
}

// end is the end of the connection on the relay's side.
func (c *simConn) end() {
	c.come = max(c.come, c.w.now+c.w.upTo(c.slow))
	c.w.after(c.come-c.w.now, func() {
		if !c.over {
			c.client.ended(c)
		}
	})
}
