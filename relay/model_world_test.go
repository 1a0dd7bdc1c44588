package relay_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A world is a hub with one source and several clients, in a bubble. Which of them does what is drawn; in what order they
// do it is up to the scheduler, or drawn as well.
type world struct {
	t        *testing.T
	lockstep bool
	outages  bool
	hub      *relay.Hub
	budget   *outbox.Budget
	stats    *stats.Stats
	channels []string
	socket   func(room int) socket // what a client is connected by

	down    bool         // Redis is away; owned by the source
	taken   atomic.Int64 // entries that the hub has taken in
	perfect bool         // everything is held: nobody who comes back may be told of a gap

	mu    sync.Mutex
	log   []entry
	lives []*client
}

// A socket is the sending end of a client's connection, and what the test sees of it.
type socket interface {
	outbox.Socket
	Give(n int)
	Poke()
	Ended() bool
	Got() []byte
}

func newWorld(t *testing.T, random *rand.Rand) *world {
	w := &world{t: t, down: true, stats: new(stats.Stats), channels: []string{"a", "b", "räume:1", "d\"", "e"}[:1+random.IntN(5)]}
	w.socket = func(room int) socket { return outboxtest.NewFakeSocket(room) }
	w.lockstep, w.outages = random.IntN(3) == 0, random.IntN(4) > 0
	w.perfect = random.IntN(4) == 0
	pick := func(choices ...int) int { return choices[random.IntN(len(choices))] }
	w.budget = outbox.NewBudget(pick(2000, 20_000, 1<<20), pick(1<<30, 1<<30, 40_000), 10*time.Second, w.stats)
	all := access.Patterns{access.MustPattern("*")}
	history, age := pick(0, 3000, 20_000, 1<<20), pick(2, 3600)
	if w.perfect {
		history, age, w.outages = 1<<22, 3600, false
	}
	w.hub = relay.NewHub(relay.HubConfig{
		Access:    &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all},
		Protocols: protocol.All(), Budget: w.budget, Stats: w.stats, Shards: pick(1, 2, 3, 4), MaxChannels: 128,
		HistoryBytes: history, HistoryAge: time.Duration(age) * time.Second, PingInterval: 2 * time.Second,
		CatchUp: func(context.Context) error { return nil },
	})
	return w
}

// run lets everybody do their steps, and leaves when everything has been handed out.
func (w *world) run(random *rand.Rand) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var hub sync.WaitGroup
	hub.Go(func() { _ = w.hub.Run(ctx) })
	parts := []func(*rand.Rand){w.say}
	for i := range 2 + random.IntN(8) {
		parts = append(parts, (&actor{world: w, name: i}).act)
	}
	steps := 20 + random.IntN(60)
	if w.lockstep {
		for range steps * len(parts) {
			parts[random.IntN(len(parts))](random)
			synctest.Wait()
		}
	} else {
		var acting sync.WaitGroup
		for _, part := range parts {
			own := rand.New(rand.NewPCG(random.Uint64(), 0))
			acting.Go(func() {
				for range steps {
					part(own)
					for range own.IntN(3) {
						runtime.Gosched()
					}
				}
			})
		}
		acting.Wait()
	}
	w.end(random)
	cancel()
	hub.Wait()
	w.budget.Wait()
}

// end lets everything arrive that is on its way, ends all lives and looks for what they left behind.
func (w *world) end(random *rand.Rand) {
	if w.down {
		w.tell(entry{kind: entryOnline})
	}
	for range 3 {
		for _, channel := range w.channels {
			w.tell(entry{kind: entryMessage, channel: channel, payload: "end"})
		}
		w.hub.Flush()
	}
	for _, c := range w.lives {
		c.socket.Give(outboxtest.Unlimited)
	}
	synctest.Wait()
	for _, c := range w.lives {
		c.settle()
	}
	if n := w.hub.Sessions(); n != 0 {
		w.t.Errorf("%d sessions are left", n)
	}
	if channels, subs := w.stats.Channels.Load(), w.stats.Subscriptions.Load(); channels != 0 || subs != 0 {
		w.t.Errorf("%d channels and %d subscriptions are left", channels, subs)
	}
	if used := w.budget.Used(); used != 0 {
		w.t.Errorf("%d bytes are still charged", used)
	}
}

// tell appends an entry to the log and gives it to the hub. Only the source calls it.
func (w *world) tell(e entry) {
	w.mu.Lock()
	if e.kind == entryMessage || e.kind == entryMissed {
		e.payload = fmt.Sprintf("#%d:%s", len(w.log)+1, e.payload)
	}
	w.log = append(w.log, e)
	place := len(w.log)
	w.mu.Unlock()
	switch e.kind {
	case entryMessage:
		w.hub.Publish([]byte(e.channel), []byte(e.payload))
	case entryMissed: // nobody told the relay
	case entryOversize:
		w.hub.Oversize([]byte(e.channel))
	case entryOffline:
		w.down = true
		w.hub.Offline()
	case entryOnline:
		w.down = false
		w.hub.Online(1)
	}
	w.taken.Store(int64(place))
}

// begun returns how many entries there are, that of this moment included.
func (w *world) begun() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.log)
}

// say is one step of the source.
func (w *world) say(random *rand.Rand) {
	switch {
	case w.down && random.IntN(3) > 0:
		w.tell(entry{kind: entryOnline})
	case w.down:
		w.tell(entry{kind: entryMissed, channel: w.channels[random.IntN(len(w.channels))]})
	case random.IntN(10) == 0:
		time.Sleep(time.Duration(random.IntN(3)) * time.Second)
	case random.IntN(4) == 0:
		w.hub.Marker(binary.BigEndian.AppendUint64(nil, random.Uint64()))
		w.hub.Flush()
	case w.outages && random.IntN(12) == 0:
		w.tell(entry{kind: entryOffline})
	default:
		for range 1 + random.IntN(64) {
			channel := w.channels[random.IntN(len(w.channels))]
			switch {
			case random.IntN(25) == 0 && !w.perfect:
				w.tell(entry{kind: entryOversize, channel: channel})
			case random.IntN(25) == 0:
				w.tell(entry{kind: entryMessage, channel: channel, payload: "\xff\x00" + strings.Repeat("b", random.IntN(10))})
			default:
				size := random.IntN(20)
				if random.IntN(40) == 0 {
					size = random.IntN(3000)
				}
				w.tell(entry{kind: entryMessage, channel: channel, payload: strings.Repeat("x", size)})
			}
			if random.IntN(16) == 0 {
				w.hub.Flush()
			}
		}
		w.hub.Flush()
	}
}

// An actor is somebody who connects, and connects again, and remembers where it was.
type actor struct {
	world *world
	name  int
	now   *client
	count int
	known memory
	last  string // id of the life that it remembers
}

// A client is one life of an actor.
type client struct {
	world   *world
	life    life
	session *relay.Session
	outbox  outbox.Outbox
	socket  socket
	joined  []string
	known   memory // of lives before
	resumed []bool // which of the channels of the running command it comes back to
	gone    bool   // it has left
}

// act is one step of an actor.
func (a *actor) act(random *rand.Rand) {
	c := a.now
	if c == nil || c.socket.Ended() {
		if c != nil {
			c.leave()
		}
		a.count++
		a.now = a.world.connect(fmt.Sprintf("%d.%d", a.name, a.count), random)
		a.now.known, a.now.life.after = a.known, a.last
		return
	}
	switch op := random.IntN(20); {
	case op < 7:
		c.subscribe(random)
	case op < 11:
		c.unsubscribe(random)
	case op < 13:
		c.ask("pong", []string{""}, `{"type":"ping","ref":%d}`)
	case op < 18:
		c.socket.Give(random.IntN(4000))
	case op == 18 && random.IntN(4) == 0: // the connection breaks
		c.life.end = endLeft
		c.leave()
		a.remember(c)
	case op == 19 && random.IntN(4) == 0: // the relay closes
		c.life.end, c.life.closed = endClosed, protocol.CloseRestart
		c.session.Close(protocol.CloseRestart)
		c.leave()
		c.socket.Give(outboxtest.Unlimited)
		for !c.outbox.Flushed() {
			time.Sleep(time.Millisecond)
		}
		a.remember(c)
	case op == 19:
		time.Sleep(time.Duration(random.IntN(2500)) * time.Millisecond)
	}
}

// remember ends a life and keeps what the client was told of where it is.
func (a *actor) remember(c *client) {
	a.now = nil
	if _, evicted := c.outbox.Evicted(); evicted || c.life.protocol != protocol.V1ID {
		a.known, a.last = nil, ""
		return
	}
	a.known, a.last = c.memory(), c.life.id
}

const handshake = "HTTP/1.1 101 Switching Protocols\r\n\r\n"

// connect does what a transport does.
func (w *world) connect(id string, random *rand.Rand) *client {
	c := &client{world: w, life: life{id: id, handshake: handshake}}
	room := random.IntN(3000)
	if random.IntN(2) == 0 {
		room = outboxtest.Unlimited
	}
	c.socket = w.socket(room)
	p := protocol.All()[random.IntN(2)]
	c.life.protocol = p.ID()
	c.outbox.Init(w.budget, c.socket, p.Close(protocol.CloseSlow))
	c.outbox.Hold([]byte(handshake))
	c.session = w.hub.Join(relay.Client{Protocol: p, Outbox: &c.outbox})
	c.life.joinedBy = w.begun()
	if p.ID() == protocol.RawID {
		channels := slices.Clone(w.channels[random.IntN(len(w.channels)):])
		before := int(w.taken.Load())
		c.session.Subscribe(channels)
		c.life.commands = []command{{channels: channels, before: before, behind: w.begun()}}
	}
	c.outbox.Release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives = append(w.lives, c)
	return c
}

// ask sends a command whose answer says kind for each of the channels.
func (c *client) ask(kind string, channels []string, format string) {
	if c.life.protocol != protocol.V1ID {
		return
	}
	cmd := command{kind: kind, channels: channels, before: int(c.world.taken.Load())}
	if kind == "subscribed" {
		cmd.resumed = slices.Clone(c.resumed)
	}
	c.session.Handle(fmt.Appendf(nil, format, len(c.life.commands)+1), true)
	cmd.behind = c.world.begun()
	c.life.commands = append(c.life.commands, cmd)
}

func (c *client) subscribe(random *rand.Rand) {
	var channels, requests []string
	c.resumed = nil
	known := c.memory()
	for range 1 + random.IntN(3) {
		channel := c.world.channels[random.IntN(len(c.world.channels))]
		where, remembered := known[channel]
		if slices.Contains(c.joined, channel) || random.IntN(8) == 0 {
			remembered = false
		}
		channels = append(channels, channel)
		c.resumed = append(c.resumed, remembered)
		if remembered {
			requests = append(requests, fmt.Sprintf(`{"channel":%q,"after":%q,"at":%q}`, channel, where.after, where.at))
		} else {
			requests = append(requests, fmt.Sprintf(`{"channel":%q}`, channel))
		}
		if !slices.Contains(c.joined, channel) {
			c.joined = append(c.joined, channel)
		}
	}
	c.ask("subscribed", channels, `{"type":"subscribe","channels":[`+strings.Join(requests, ",")+`],"ref":%d}`)
}

func (c *client) unsubscribe(random *rand.Rand) {
	if len(c.joined) == 0 {
		return
	}
	i := random.IntN(len(c.joined))
	channel := c.joined[i]
	c.joined = slices.Delete(c.joined, i, i+1)
	c.ask("unsubscribed", []string{channel}, fmt.Sprintf(`{"type":"unsubscribe","channel":%q,"ref":%%d}`, channel))
}

// leave is the end of the connection on the reading side. Where it broke, nothing is sent any more; else the rest is.
func (c *client) leave() {
	c.session.Leave()
	c.gone = true
	c.life.endedBy = c.world.begun()
	if c.life.end == endLeft {
		c.outbox.Shut()
		c.life.stream = c.socket.Got()
		c.socket.Poke()
	}
}

// settle ends a life when everything has been handed out.
func (c *client) settle() {
	if !c.gone {
		c.session.Leave()
	}
	if _, evicted := c.outbox.Evicted(); evicted && c.life.end != endLeft {
		c.life.end, c.life.closed = endEvicted, protocol.CloseSlow
	}
	c.outbox.Shut()
	c.socket.Poke()
	if got := c.socket.Got(); c.life.end != endLeft {
		c.life.stream = got
	} else if len(got) != len(c.life.stream) {
		c.world.t.Errorf("client %s was sent %d bytes after it was shut", c.life.id, len(got)-len(c.life.stream))
	}
}
