package server_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/presence"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/roster"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

const (
	stormMembers = 10_000
	stormOthers  = 500
	stormEvery   = 20 * time.Millisecond
)

// BenchmarkPresenceStorm measures the delivery times to 500 clients on another
// channel, by Redis, while 10,000 users subscribe to a channel within 10 s. It
// compares three times: without them, with users who do not watch the members,
// and with users who all do.
func BenchmarkPresenceStorm(b *testing.B) {
	raiseFileLimit(b, stormMembers+stormOthers+otherFiles)
	quiet := presenceStorm(b, "")
	plain := presenceStorm(b, `{"type":"subscribe","channel":"room"}`)
	watched := presenceStorm(b, `{"type":"subscribe","channel":"room","presence":true}`)
	b.ReportMetric(quiet, "ms-p99-quiet")
	b.ReportMetric(plain, "ms-p99-storm")
	b.ReportMetric(watched, "ms-p99-storm-watching")
	b.ReportMetric(watched/plain, "x-storm")
	b.ReportMetric(watched/quiet, "x-quiet")
	b.ReportMetric(0, "ns/op")
}

// presenceStorm returns the p99 in milliseconds while clients send a command, or
// without them if it is empty.
func presenceStorm(b *testing.B, command string) float64 {
	server := redistest.Start(b)
	var r *testRelay
	var link *source.Link
	counters := new(stats.Stats)
	members := presence.New(presence.Config{
		Names: access.NewNames("", ""), Joined: true, Left: true, Stats: counters, Link: func() presence.Link { return link },
		Notify: func(channel string, update roster.Update) { r.hub.PresenceChanged(channel, update) },
	})
	r = startRelay(b, func(o *relayOptions) { o.presence = members })
	link = runPresence(b, server.Addr, r, members)

	s := &stuckBench{b: b, relay: r, payload: payload}
	s.clients = startPeer(b, peerSpec{
		Role: "read", Addr: r.addr, Path: "/?channel=a", Count: stormOthers, Frame: len(rawFrame(payload)),
	})
	before := s.snapshot()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.publishByRedis(server.Addr, stop)
	}()
	if command == "" {
		time.Sleep(rampTime)
	} else {
		storm := startPeer(b, peerSpec{
			Role: "ramp", Addr: r.addr, Path: "/?user=user-%d", Count: stormMembers, Offer: "sidecast.v1", Command: command,
		})
		defer storm.stop()
		await(b, "the users to be members", func() bool { return counters.PresenceMembers.Load() == stormMembers })
	}
	close(stop)
	<-stopped
	s.clients.expect(b, uint64(s.number*stormOthers*len(rawFrame(payload))))
	if evicted := r.evictions(); evicted > 0 {
		b.Errorf("%d clients were evicted", evicted)
	}
	defer s.clients.stop()
	return s.p99(before)
}

// runPresence runs a link to Redis and the members of channels until the
// benchmark ends.
func runPresence(b *testing.B, addr string, r *testRelay, members *presence.Presence) *source.Link {
	link, err := source.New(source.Config{
		Server: source.Server{Address: addr}, Names: access.NewNames("", ""), Patterns: allChannels, MarkersOff: true,
		Stats: r.stats, Logger: slog.New(slog.DiscardHandler), Services: []source.Service{{
			Channel: members.Topic(), Receive: members.Receive, Online: members.Online, Offline: members.Offline,
		}},
	}, r.hub)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = link.Run(ctx) })
	running.Go(func() { _ = members.Run(ctx) })
	b.Cleanup(func() { cancel(); running.Wait() })
	await(b, "the link to be connected", link.Up)
	return link
}

// publishByRedis publishes at a constant rate until stop is closed.
func (s *stuckBench) publishByRedis(addr string, stop <-chan struct{}) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	ticker := time.NewTicker(stormEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		s.clients.times[s.number%len(s.clients.times)].Store(time.Now().UnixNano())
		s.number++
		if err := client.Publish(context.Background(), "a", s.payload).Err(); err != nil {
			s.b.Error(err)
			return
		}
	}
}
