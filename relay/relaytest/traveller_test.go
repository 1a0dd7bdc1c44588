package relaytest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// TestTraveller: connections to several relays make one listener.
func TestTraveller(t *testing.T) {
	a, b := newFake(t, mutation{}), newFake(t, mutation{})
	dialers := []*Dialer{{URL: a.url, Relay: "a"}, {URL: b.url, Relay: "b"}}
	tr := NewTraveller("x", "y")
	if err := tr.Joined(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("it is somewhere: %v", err)
	}
	for _, relay := range []int{0, 1, 1, 0} {
		check(t, tr.Go(t.Context(), dialers[relay]))
		check(t, tr.Joined(t.Context()))
	}
	if err := tr.Go(t.Context(), &Dialer{URL: "ws://127.0.0.1:1/ws"}); err == nil {
		t.Error("it went nowhere, without an error")
	}
	if tr.Client() != nil {
		t.Error("it stayed where it was")
	}
	check(t, tr.Go(t.Context(), dialers[0]))
	defer tr.Leave((*Client).Abort)
	var relays []string
	for _, s := range tr.Sessions() {
		relays = append(relays, s.Relay)
		if s.Client != tr.Name() {
			t.Errorf("a session of %q", s.Client)
		}
	}
	if want := []string{"a", "b", "b", "a", "a"}; !slices.Equal(relays, want) || tr.Moves != 4 || tr.Crossings != 2 {
		t.Errorf("sessions on %v, %d moves, %d crossings", relays, tr.Moves, tr.Crossings)
	}
}

// TestRoam: a traveller comes back by itself, and stays when it is told to.
func TestRoam(t *testing.T) {
	f := newFake(t, mutation{})
	ctx, cancel := context.WithCancel(t.Context())
	tr := NewTraveller("x")
	asked := make(chan struct{}, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tr.Roam(ctx, time.Millisecond, func() *Dialer {
			asked <- struct{}{}
			return &Dialer{URL: f.url}
		})
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n < 4; {
		select {
		case <-asked:
			n++
		case <-tick.C: // whoever is there
			f.each(func(s *fakeSession) { s.close(1012) })
		}
	}
	cancel()
	<-done
	tr.Leave((*Client).Drop)
	if len(tr.Sessions()) == 0 || tr.Moves+1 != len(tr.Sessions()) {
		t.Errorf("%d moves, %d sessions", tr.Moves, len(tr.Sessions()))
	}
}

// TestSettle: the stream tells what became of calls whose answers were lost.
func TestSettle(t *testing.T) {
	server := redistest.Start(t)
	client := NewRedis(server.Addr, time.Second)
	defer client.Close()
	lost := errors.New("lost")
	n := 0
	p := NewPublisher(func(ctx context.Context, channel string, payload []byte) (int64, error) {
		n++
		if n%3 == 1 {
			return 0, lost // before it was made
		}
		receivers, err := AppendTo(client, 0)(ctx, channel, payload)
		if n%3 == 2 {
			err = lost // after it was made
		}
		return receivers, err
	}, Payloads{})
	check(t, p.Run(t.Context(), []string{"order"}, 9, 0))
	settled, err := Settle(t.Context(), client, p.Log())
	check(t, err)
	var seqs []uint32
	for _, sent := range settled {
		if sent.Err != nil {
			t.Errorf("seq %d is not settled", sent.Seq)
		}
		seqs = append(seqs, sent.Seq)
	}
	if want := []uint32{2, 3, 5, 6, 8, 9}; !slices.Equal(seqs, want) {
		t.Errorf("kept %v, want %v", seqs, want)
	}
	if length := server.CLI("XLEN", "order"); length != "6" {
		t.Errorf("the stream has %s entries", length)
	}
}
