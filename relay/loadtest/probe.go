package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// probeTime bounds the time until a relay must have handed out what was published.
const probeTime = 5 * time.Second

// probe connects one client and, where something is to be published, publishes until it is heard: so that a wrong address
// is told at once, and not as ten thousand losses.
func probe(ctx context.Context, f *fleet, p *publisher, publishing bool) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := p.check(ctx); err != nil {
		return fmt.Errorf("asking Redis: %w; say with -redis where it is", err)
	}
	c := &client{channel: f.channels[0], shard: &shard{tally: newTally()}, course: f.course}
	conn, err := f.dialer.connect(ctx, c, f.dialed.Add(1)-1)
	if err != nil {
		return refusedBy(f, c, err)
	}
	defer conn.Close()
	for ctx.Err() == nil && publishing {
		p.next = 0
		if err := p.publish(1, f.course.clock.now()); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		switch heard, err := listen(conn, c); {
		case heard:
			return nil
		case err != nil:
			return refusedBy(f, c, reasonOf(err))
		}
	}
	if !publishing || context.Cause(ctx) == context.Canceled {
		return nil
	}
	if p.published.Load() == p.unheard.Load() {
		return fmt.Errorf("nobody at this Redis hears channel %s: does the relay hear another Redis, or is its "+
			"SIDECAST_CHANNELS without it?", c.channel.name)
	}
	return fmt.Errorf("the relay did not hand out what was published to channel %s within %v", c.channel.name, probeTime)
}

// listen reads for a while, and reports whether any message came.
func listen(conn net.Conn, c *client) (heard bool, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(probeTime / 10))
	var buf [smallSize]byte
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock() // nobody else knows this shard
	for err == nil {
		if t := c.shard.tally; t.deliveries+t.corrupted+t.leaked > 0 {
			return true, nil
		}
		var n int
		if n, err = conn.Read(buf[:]); n > 0 {
			err = errors.Join(c.feed(buf[:n], c.course.clock.now()), err)
		}
	}
	switch {
	case c.code != 0:
		return false, refusal(fmt.Sprintf("closed with %d", c.code))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, nil
	}
	return false, err
}

// refusedBy says that the relay did not serve the client, and what to do.
func refusedBy(f *fleet, c *client, why error) error {
	return fmt.Errorf("connecting to the relay at %s: %w; %s", f.dialer.target.addr, why, advice(why, c.channel.name))
}

// advice says what to do about a refusal.
func advice(err error, channel string) string {
	switch err.Error() {
	case "connection refused":
		return "start it, or say with -url where it is"
	case "closed with 4403", "closed with 4401", "error forbidden", "error unauthorized":
		return "open channel " + channel + " with its SIDECAST_CHANNELS and SIDECAST_PUBLIC_CHANNELS, or choose another with -prefix"
	case "HTTP 403":
		return "it refuses the origin; see -header"
	case "HTTP 404", "HTTP 426", "not HTTP":
		return "does -url name the path where it speaks WebSocket?"
	}
	return "its log may say more"
}
