package relaytest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// TestKeepConnected: a client reconnects whenever its connection ends, until
// the context ends.
func TestKeepConnected(t *testing.T) {
	l := listen(t)
	go func() {
		for {
			conn, err := accept(l)
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte{0x88, 2, 0x03, 0xf4})
			conn.Close()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	c := NewReconnectingClient("x")
	connects := 0
	c.KeepConnected(ctx, time.Millisecond, func() *Dialer {
		if connects++; connects == 4 {
			cancel()
		}
		return &Dialer{URL: "ws://" + l.Addr().String()}
	})
	c.Disconnect((*Client).Drop)
	if n := len(c.Sessions()); connects < 4 || n == 0 || c.Reconnects+1 != n {
		t.Errorf("%d attempts, %d sessions, %d moves", connects, n, c.Reconnects)
	}
}

// TestResolve: the stream shows which calls were executed although their
// answers were lost.
func TestResolve(t *testing.T) {
	server := redistest.Start(t)
	client := NewRedis(server.Addr, time.Second)
	defer client.Close()
	lost := errors.New("lost")
	n := 0
	p := NewPublisher(func(ctx context.Context, channel string, payload []byte) (int64, error) {
		n++
		if n%3 == 1 {
			return 0, lost // before the call
		}
		receivers, err := AppendTo(client, 0)(ctx, channel, payload)
		if n%3 == 2 {
			err = lost // after the call
		}
		return receivers, err
	}, Payloads{})
	check(t, p.Run(t.Context(), []string{"order"}, 9, 0))
	resolved, err := Resolve(t.Context(), client, p.Log())
	check(t, err)
	var seqs []uint32
	for _, sent := range resolved {
		if sent.Err != nil {
			t.Errorf("seq %d still has an error", sent.Seq)
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
