//go:build unix

package relaytest

import (
	"context"
	"math/rand/v2"
	"time"

	"sidecast/relay/relaytest/faultproxy"
)

// A soakClient moves between relays, through a proxy that only it uses.
type soakClient struct {
	*ReconnectingClient
	w      *soakWorld
	random *rand.Rand
	proxy  *faultproxy.Proxy
	slow   bool // it often stops reading, and has a small buffer and no proxy
}

func newSoakClient(w *soakWorld, i int) *soakClient {
	c := &soakClient{w: w, slow: i >= soakFastClients, random: rand.New(rand.NewPCG(w.seed, uint64(100+i)))}
	var channels []string
	for _, name := range append(w.channels(false), w.channels(true)...) {
		if c.random.IntN(3) > 0 || len(channels) == 0 {
			channels = append(channels, name)
		}
	}
	c.ReconnectingClient = NewReconnectingClient(channels...)
	c.proxy = faultproxy.Start(w.t, "127.0.0.1:1")
	c.proxy.Trace()
	return c
}

// run moves between relays until ctx ends. The last connection stays open.
func (c *soakClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !c.move(ctx) {
			pause(100*time.Millisecond, ctx.Done())
			continue
		}
		stay := time.Duration(c.random.ExpFloat64() * float64(3*time.Second))
		if c.random.IntN(3) == 0 {
			stay = rand.N(200 * time.Millisecond) // perhaps before the answer or during a replay
		}
		if c.slow {
			c.dawdle(ctx)
			continue
		}
		timer := time.NewTimer(stay)
		select {
		case <-timer.C:
			c.leave(ctx)
		case <-c.Client().Done():
			c.Disconnect((*Client).Drop)
			pause(rand.N(300*time.Millisecond), ctx.Done())
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// dawdle stops reading for a time, and then reads the rest, or does not.
func (c *soakClient) dawdle(ctx context.Context) {
	for ctx.Err() == nil && !c.Client().ended() {
		pause(time.Duration(c.random.IntN(3000))*time.Millisecond, ctx.Done())
		c.Client().StopReading()
		pause(time.Duration(c.random.IntN(5000))*time.Millisecond, ctx.Done())
		switch c.random.IntN(12) {
		case 0:
			c.Disconnect((*Client).Drop)
			return
		case 1:
			c.Disconnect((*Client).Abort)
			return
		}
		c.Client().ResumeReading()
	}
	if ctx.Err() == nil {
		c.Disconnect((*Client).Drop)
	}
}

// move connects to a random relay. It reports false if the relay is not open or
// the connection failed.
func (c *soakClient) move(ctx context.Context) bool {
	r := c.w.relays[c.random.IntN(len(c.w.relays))]
	name, addr := r.where()
	if addr == "" {
		return false
	}
	c.proxy.Retarget(addr)
	d := &Dialer{URL: "ws://" + c.proxy.Addr + "/ws", Relay: name, SentAt: c.proxy.PassedAt}
	if c.slow {
		d = &Dialer{URL: "ws://" + addr + "/ws", Relay: name, ReceiveBuffer: 4 << 10}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if c.Connect(ctx, d) != nil {
		return false
	}
	c.w.connected.Add(1)
	return true
}

// leave ends the connection in a random way.
func (c *soakClient) leave(ctx context.Context) {
	note := func(how string) { c.Client().record(Event{Kind: KindAborted, Text: how}) }
	switch c.random.IntN(10) {
	case 0, 1:
		c.Disconnect((*Client).Drop)
	case 2, 3:
		c.Disconnect((*Client).Abort)
	case 4, 5:
		note("the network resets the connection inside a frame")
		c.proxy.ResetAfter(faultproxy.ToClient, 1+c.random.IntN(300))
		pause(time.Duration(c.random.IntN(500))*time.Millisecond, ctx.Done())
		c.proxy.ResetAfter(faultproxy.ToClient, -1)
		c.Disconnect((*Client).Drop)
	case 6, 7:
		note("the network ends the connection")
		c.proxy.Cut()
		c.Disconnect((*Client).Drop)
	case 8:
		note("the network drops all packets")
		c.proxy.Hold(randomWay(c.random)...)
		pause(time.Duration(c.random.IntN(4000))*time.Millisecond, ctx.Done())
		c.Disconnect((*Client).Abort)
		c.proxy.Release(faultproxy.Both...)
	case 9: // a slow network, then a reset
		c.proxy.Delay(faultproxy.ToClient, 100*time.Millisecond, 300*time.Millisecond)
		pause(time.Duration(c.random.IntN(2000))*time.Millisecond, ctx.Done())
		c.Disconnect((*Client).Abort)
		c.proxy.Delay(faultproxy.ToClient, 0, 0)
	}
}

// stay moves a last time and returns the connection.
func (c *soakClient) stay() *Client {
	deadline := time.Now().Add(Patience)
	for {
		if c.move(c.w.t.Context()) {
			if err := c.AwaitAnswers(c.w.t.Context()); err == nil {
				return c.Client()
			} else if time.Now().After(deadline) {
				c.w.t.Fatalf("seed %d: %v", c.w.seed, err)
			}
		}
		if time.Now().After(deadline) {
			c.w.t.Fatalf("seed %d: %s cannot connect to any relay", c.w.seed, c.Name())
		}
		pause(100*time.Millisecond, c.w.t.Context().Done())
	}
}

// A soakRawClient uses sidecast.raw and is a new client on each connection.
type soakRawClient struct {
	w        *soakWorld
	gapClose bool
	random   *rand.Rand
	ended    []Session
	current  *Client
}

func (c *soakRawClient) run(ctx context.Context) {
	for c.connect(ctx) {
		select {
		case <-c.current.Done():
		case <-ctx.Done():
			return
		}
	}
}

// connect replaces a connection that has ended. It reports false if ctx ends
// before a relay accepts the new one.
func (c *soakRawClient) connect(ctx context.Context) bool {
	if c.current != nil && c.current.ended() {
		c.ended, c.current = append(c.ended, c.current.Session()), nil
	}
	for c.current == nil {
		name, addr := c.w.relays[c.random.IntN(len(c.w.relays))].where()
		d := &Dialer{
			URL: "ws://" + addr + "/ws", Relay: name, Protocol: Raw, GapClose: c.gapClose, Channels: c.w.channels(false)[:1],
		}
		dialing, cancel := context.WithTimeout(ctx, 3*time.Second)
		client, err := d.Dial(dialing) // fails if addr is empty
		cancel()
		if err == nil {
			c.current = client
		} else if !pause(100*time.Millisecond, ctx.Done()) {
			return false
		}
	}
	return true
}

// stay connects a last time, if necessary.
func (c *soakRawClient) stay() {
	if c.connect(c.w.t.Context()) {
		c.w.t.Cleanup(c.current.Drop)
	}
}
