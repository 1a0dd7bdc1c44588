package relay_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing/synctest"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// An actor connects again and again, to any relay, and resumes where it was.
type actor struct {
	world    *world
	name     int
	count    int
	client   *actorClient // nil between two connections
	known    cursors
	previous string   // id of the client that had these last
	past     []string // all cursors that it ever had
	place    place    // in place of known, if the channels of the last client shared a cursor
	channels []string // its channels then
}

// An actorClient is one connection of an actor. Its own goroutine sends its
// commands, because they wait for Redis.
type actorClient struct {
	*testClient
	relay      *worldRelay
	previous   string  // id of the client that it resumes, or empty
	known      cursors // of earlier connections
	joinedFrom int     // outages of which the relay had been told before it joined
	joinedBy   int     // outages that had begun when it had joined
	queue      chan func()
	running    sync.WaitGroup
	gone       bool
	sentAtLeft int // bytes that it was sent when it had left

	// Set after the history, about live channels.
	resumes   map[string]*position // of the previous client
	positions map[string]*position // at its end
	wrong     error                // what check found
}

// act is one step of an actor.
func (a *actor) act(r *worldRelay) {
	random, c := a.world.random, a.client
	if c == nil {
		a.connect(r)
		return
	}
	if c.socket.Ended() {
		c.drain()
		a.disconnect(endEvicted)
		return
	}
	switch op := random.IntN(40); {
	case op < 22 && c.together:
		c.socket.Give(random.IntN(1 << (4 + random.IntN(14)))) // it sends no commands
	case op < 13:
		a.subscribe()
	case op < 18:
		a.unsubscribe()
	case op < 20:
		a.publish()
	case op < 22:
		c.ask(command{kind: "pong", channels: []string{""}}, `{"type":"ping"`)
	case op < 36:
		c.socket.Give(random.IntN(1 << (4 + random.IntN(14))))
	case op < 38:
		a.disconnect(endLeft)
	case op == 38:
		c.session.Close(protocol.CloseRestart)
		c.drain()
		a.disconnect(endClosed)
	}
}

func (a *actor) connect(r *worldRelay) {
	w := a.world
	a.count++
	o := connectOptions{
		id: fmt.Sprintf("%d.%d", a.name, a.count), protocol: protocol.All()[min(w.random.IntN(4), 1)],
		room: outboxtest.Unlimited, moment: r.moment, tamper: w.tamper,
	}
	o.gapClose = o.protocol.ID() == protocol.RawID && w.random.IntN(2) == 0
	if w.random.IntN(2) == 0 {
		o.room = w.random.IntN(3000)
	}
	together := w.together && w.random.IntN(4) > 0
	switch {
	case together:
		o.protocol, o.gapClose = listingV1{}, false
	case w.together:
		o.protocol, o.gapClose = protocol.V1{}, false
	}
	c := &actorClient{relay: r, joinedFrom: r.outagesTold(), known: maps.Clone(a.known), queue: make(chan func(), 1000)}
	c.testClient = r.testHub.connect(o)
	_, _, c.joinedBy = r.position()
	c.running.Go(func() {
		for do := range c.queue {
			do()
		}
	})
	switch {
	case together:
		c.story.together, c.previous = true, a.previous
		a.subscribeTogether(c)
	case c.protocol == protocol.RawID:
		channels := w.channels[w.random.IntN(len(w.channels)):]
		list, last := requests(channels...), make([]int, len(channels))
		for i := range list {
			last[i] = w.last(channels[i])
			list[i].Last = last[i]
		}
		c.do(command{kind: "subscribed", channels: channels, last: last}, func() { c.session.Subscribe(list) })
	default:
		c.previous = a.previous
	}
	a.client = c
	w.clients = append(w.clients, c)
}

// do makes the client's goroutine handle a command.
func (c *actorClient) do(cmd command, handle func()) {
	c.commands = append(c.commands, &cmd)
	c.queue <- func() {
		cmd.before, _, _ = c.relay.position()
		cmd.asked = c.relay.world.store.moment.Load()
		handle()
		_, cmd.begunBy, _ = c.relay.position()
	}
}

// ask sends a command.
func (c *actorClient) ask(cmd command, format string, args ...any) {
	if c.protocol == protocol.V1ID {
		args = append(args, len(c.commands)+1)
		c.do(cmd, func() { c.handle(format+`,"ref":%d}`, args...) })
	}
}

func (a *actor) subscribe() {
	c, random := a.client, a.world.random
	joined, pending := c.state()
	known := c.cursors(c.known)
	cmd := command{kind: "subscribed"}
	var requests []string
	for range 1 + random.IntN(3) {
		channel := a.world.channel()
		again := joined[channel] && !isDurable(channel) && random.IntN(4) == 0
		if joined[channel] && !again || pending[channel] || slices.Contains(cmd.channels, channel) {
			continue
		}
		last := known[channel]
		switch op := random.IntN(24); {
		case again || op < 2:
			last = lastCursors{}
		case !isDurable(channel):
		case op == 2:
			last.after = "AgAAAAAAAA" // there was no stream yet
		case op == 3:
			last.after = "bogus"
		case op < 6 && len(a.past) > 0: // an older one, perhaps of another channel
			last.after = a.past[random.IntN(len(a.past))]
		}
		newest, since := 0, ""
		if !again {
			newest, since = a.world.last(channel), a.world.since(channel)
		}
		if (newest > 0 || since != "") && random.IntN(2) == 0 {
			last = lastCursors{}
		}
		cmd.channels, cmd.after = append(cmd.channels, channel), append(cmd.after, last.after)
		cmd.since, cmd.last = append(cmd.since, since), append(cmd.last, newest)
		requests = append(requests, fmt.Sprintf(`{"channel":%q,"after":%q,"at":%q,"since":%q,"last":%d}`, channel, last.after, last.at, since, newest))
	}
	if len(requests) > 0 {
		c.ask(cmd, `{"type":"subscribe","channels":[%s]`, strings.Join(requests, ","))
	}
}

// last returns how many of the newest messages a client asks for.
func (w *world) last(channel string) int {
	return []int{0, 0, 1, 3, 100}[w.random.IntN(5)]
}

// since returns the id that the client's application has read: usually the last
// one.
func (w *world) since(channel string) string {
	if !isDurable(channel) || w.random.IntN(4) > 0 {
		return ""
	}
	id := w.store.state(channel).Tail.ID
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if n := len(w.store.log); n > 0 && w.random.IntN(2) == 0 {
		if r := w.store.log[w.random.IntN(n)]; r.channel == channel {
			id = r.entry.ID
		}
	}
	return id.String()
}

// subscribeTogether subscribes to channels that share a cursor: to those of the
// last client, from its place on; or to any, from their cursors on.
func (a *actor) subscribeTogether(c *actorClient) {
	w := a.world
	if a.place.Anchor == (relay.Anchor{}) {
		if a.place.cursors == nil {
			a.place.cursors = a.known
		}
		a.channels = w.channels[w.random.IntN(len(w.channels)):]
	}
	requests, anchor := a.place.requests(a.channels)
	cmd := command{kind: "subscribed", channels: a.channels}
	for i := range requests {
		r := &requests[i]
		r.Last = w.last(r.Channel)
		cmd.after, cmd.last = append(cmd.after, anchor.Cursor+r.After+r.At), append(cmd.last, r.Last)
	}
	c.do(cmd, func() { c.session.SubscribeTogether(requests, anchor) })
}

// unsubscribe leaves a channel, sometimes before the subscribe was answered.
func (a *actor) unsubscribe() {
	channel, last := a.world.channel(), new(command)
	for _, cmd := range a.client.commands {
		if slices.Contains(cmd.channels, channel) {
			last = cmd
		}
	}
	joined, pending := a.client.state()
	if joined[channel] && !pending[channel] || pending[channel] && last.kind == "subscribed" && last.after != nil {
		a.client.ask(command{kind: "unsubscribed", channels: []string{channel}}, `{"type":"unsubscribe","channel":%q`, channel)
	}
}

func (a *actor) publish() {
	c, w := a.client, a.world
	channel, by := w.channel(), ""
	echo := w.random.IntN(2) == 0
	if !echo {
		by = " by " + c.id
	}
	w.published++
	text := fmt.Sprintf("c%d%s", w.published, by)
	c.ask(command{kind: "ok", channels: []string{""}}, `{"type":"publish","channel":%q,"data":%q,"echo":%v`, channel, text, echo)
}

// state returns the client's channels, as far as it knows, and those for which
// it waits.
func (c *actorClient) state() (joined, pending map[string]bool) {
	c.listen()
	joined, pending = map[string]bool{}, map[string]bool{}
	answered := map[string]int{} // the newest command about the channel
	for _, e := range c.events {
		switch {
		case e.kind == "error" && c.commands[e.ref-1].kind == "ok": // it could not publish
		case e.kind == "subscribed", e.kind == "unsubscribed", e.kind == "error":
			joined[e.channel] = e.kind == "subscribed"
			answered[e.channel] = max(answered[e.channel], e.ref)
		}
	}
	for i, cmd := range c.commands {
		for _, channel := range cmd.channels {
			pending[channel] = i+1 > answered[channel]
		}
	}
	return joined, pending
}

// listen decodes what has arrived. After the client has left, it does not
// receive anything.
func (c *actorClient) listen() {
	if !c.gone {
		c.receive()
	}
}

// disconnect ends a connection: the client receives no more than it has by now.
func (a *actor) disconnect(end ending) {
	c := a.client
	a.client = nil
	c.listen()
	switch {
	case c.together:
		a.known, a.place, a.previous = cursors{}, c.story.place(a.place), c.id
	case c.protocol == protocol.V1ID:
		a.known, a.place, a.previous = c.cursors(c.known), place{}, c.id
		for _, channel := range slices.Sorted(maps.Keys(a.known)) {
			if isDurable(channel) {
				a.past = append(a.past, a.known[channel].after)
			}
		}
	}
	c.end = end
	c.leaveInTurn()
}

// leaveInTurn leaves after all commands.
func (c *actorClient) leaveInTurn() {
	c.gone = true
	c.queue <- func() {
		c.leave()
		c.sentAtLeft = len(c.socket.Got())
	}
	close(c.queue)
}

// finish ends a connection when everything has been delivered.
func (c *actorClient) finish() {
	c.listen()
	if !c.gone {
		if c.socket.Ended() {
			c.end = endEvicted
		}
		c.leaveInTurn()
	}
	c.running.Wait()
	synctest.Wait()
	if n := len(c.socket.Got()); n != c.sentAtLeft {
		c.t.Errorf("client %s was sent %d bytes after it had left", c.id, n-c.sentAtLeft)
	}
}
