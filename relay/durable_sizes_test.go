package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// A vaultReader is a vault as one relay reads it, without any trouble.
type vaultReader struct{ *vault }

// Read implements [relay.Streams].
func (r vaultReader) Read(_ context.Context, channel string, from stream.ID, limit int) (stream.Page, error) {
	return r.vault.read(channel, from, limit), nil
}

// State implements [relay.Streams].
func (r vaultReader) State(_ context.Context, channel string) (stream.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state(channel), nil
}

// Behind implements [relay.Streams].
func (r vaultReader) Behind(_ context.Context, places []stream.Place) (list []bool, _ error) {
	for _, place := range places {
		list = append(list, r.behind(place))
	}
	return list, nil
}

// Append implements [relay.Streams].
func (r vaultReader) Append(_ context.Context, channel string, payload []byte) (stream.ID, error) {
	return r.add(channel, stream.ID{}, []string{stream.PayloadField, string(payload)}, "", 0), nil
}

// A durableStand is a stand whose channels are streams.
type durableStand struct {
	*stand
	vault *vault
}

func newDurableStand(t *testing.T, streams func(*vault) stream.Store) *durableStand {
	v := newVault(rand.New(rand.NewPCG(1, 1)))
	v.limit, v.old = 1<<20, false
	d := &durableStand{&stand{t: t, stats: new(stats.Stats)}, v}
	all := access.Patterns{access.MustPattern("*")}
	d.budget = outbox.NewBudget(1<<20, 1<<30, time.Minute, d.stats)
	d.hub = relay.NewHub(relay.HubConfig{
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: all, Durable: all, Public: all, Publish: all},
		Budget: d.budget, Stats: d.stats, Protocols: protocol.All(), Shards: 1, MaxChannels: 10, MaxPayload: 1 << 20,
		PingInterval: time.Hour, Streams: func() stream.Store { return streams(v) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.hub.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); d.budget.Wait() })
	d.hub.Online(1)
	synctest.Wait()
	return d
}

// add adds entries n to m.
func (d *durableStand) add(channel string, n, m int) {
	for ; n <= m; n++ {
		d.vault.add(channel, stream.ID{}, []string{stream.PayloadField, fmt.Sprintf("#%d:", n)}, "", 0)
	}
}

// nudge says that there are new ones.
func (d *durableStand) nudge(channel string) {
	d.hub.Nudge([]byte(channel), false)
	synctest.Wait()
}

func troubleless(v *vault) stream.Store { return vaultReader{v} }

// However small entries are and however long they become on the wire, all of them come, once and in order, and 48 KiB and
// one of them wait at most: from the ring, where others listen, or from the stream, where nobody did; and with what comes while
// they are told again.
func TestDurableReplayOfAllSizes(t *testing.T) {
	for _, test := range replaySizes {
		for _, room := range []int{outboxtest.Unlimited, 0} {
			for _, kept := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, room %d, kept %v", test.why, room, kept), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { replaySize(t, test.payload, test.n, room, kept) })
				})
			}
		}
	}
}

func replaySize(t *testing.T, payload string, n, room int, kept bool) {
	d := newDurableStand(t, troubleless)
	first := d.join(outboxtest.Unlimited)
	first.subscribe("a", "")
	cursor := first.want("a new client", "subscribed false")
	if !kept {
		first.leave()
	}
	fields := []string{stream.PayloadField, payload}
	for range n {
		d.vault.add("a", stream.ID{}, fields, "", 0)
	}
	d.nudge("a")
	back := d.join(room)
	back.subscribe("a", cursor)
	for i := range 1000 {
		if waiting, _ := back.outbox.Pending(); waiting > 48<<10+7*len(payload)+300 {
			t.Fatalf("%d bytes wait", waiting)
		}
		if i < 5 {
			d.vault.add("a", stream.ID{}, fields, "", 0)
			d.nudge("a")
		}
		back.socket.Give(10_000)
		synctest.Wait()
	}
	if waiting, _ := back.outbox.Pending(); waiting > 0 {
		t.Fatalf("%d bytes wait in the end", waiting)
	}
	list, err := frames(back.socket.Got())
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for i := range list {
		if err := list[i].decode(); err != nil {
			t.Fatal(err)
		}
		switch h := list[i]; {
		case h.kind == "gap":
			t.Fatalf("a gap: %s", h.reason)
		case h.kind == "message" && got >= len(d.vault.log):
			t.Fatal("too many messages")
		case h.kind == "message":
			want, _ := d.vault.log[got].entry.AppendText(nil)
			if h.cursor != string(want) || string(h.payload) != payload {
				t.Fatalf("message %d is %s, want %s", got+1, h.cursor, want)
			}
			got++
		}
	}
	if got != n+5 {
		t.Errorf("%d messages of %d came", got, n+5)
	}
}
