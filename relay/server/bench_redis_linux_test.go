package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/relaytest/redistest"
)

// A floorSink is the hub, or in its turns the floor: it writes the frame at once to the one who listens.
type floorSink struct {
	*relay.Hub
	floor *floor
	frame []byte
	turn  atomic.Bool // the floor's
}

func (s *floorSink) Publish(channel, payload []byte) {
	if !s.turn.Load() {
		s.Hub.Publish(channel, payload)
		return
	}
	i := 0
	for _, digit := range channel[1:] {
		i = 10*i + int(digit-'0')
	}
	s.floor.send(s.floor.fds[i:i+1], s.frame)
}

// unicastRedis is one message to one of 5,000 clients, published to a real Redis. The floor hears by the same link, so it
// includes what reading from Redis costs.
func unicastRedis(b *testing.B) []figure {
	const n, batch = 5000, 3200
	redis := redistest.Start(b)
	r, f := startFloored(b)
	sink := &floorSink{Hub: r.hub, floor: f, frame: rawFrame(payload)}
	runLink(b, redis.Addr, sink, r.stats)
	p := startPeer(b, peerSpec{Role: "drink", Addr: r.addr, Path: "/?channel=c%d", Count: n})
	publisher := startPeer(b, peerSpec{Role: "publish", Addr: redis.Addr, Count: n})
	one := func(floor bool) side {
		return func() int {
			sink.turn.Store(floor)
			publisher.wanted.Add(batch)
			time.Sleep(batch / publishBatch * publishPause) // it takes as long at least
			p.expect(b, uint64(batch*len(sink.frame)))
			return batch
		}
	}
	figures := compare(one(false), one(true), 1.15, 1.01)
	figures[0].unit = "x-floor+ingest"
	return figures
}

// ingest is messages that nobody listens to, from a Redis that says nothing else, without a history.
func ingest(b *testing.B) []figure {
	return ingested(b, figure{unit: "us/message", most: 0.15}, figure{unit: "messages/s", least: 3e6}, 0)
}

// remembered is the same with one.
func remembered(b *testing.B) []figure {
	return ingested(b, figure{unit: "us/message", most: 0.30}, figure{unit: "messages/s"}, 64<<20)
}

func ingested(b *testing.B, cost, rate figure, history int) []figure {
	const batch = 1_000_000
	perCPU := figure{unit: "messages/CPU-s"}
	allocs := figure{unit: "allocs/message", most: 0.001}
	redis := redistest.FreeAddr(b)
	r := startRelay(b, func(o *relayOptions) { o.history = history })
	p := startPeer(b, peerSpec{Role: "redis", Addr: redis})
	runLink(b, redis, r.hub, r.stats)
	var spent time.Duration // waiting for the peer included
	one := side(func() int {
		until := r.stats.RedisMessages.Load() + batch
		p.wanted.Add(batch)
		began := time.Now()
		for r.stats.RedisMessages.Load() < until {
			time.Sleep(time.Millisecond)
		}
		spent += time.Since(began)
		return batch
	})
	one.turn()
	for range turns {
		spent = 0
		s := one.turn()
		cost.samples = append(cost.samples, s.cost/1000)
		rate.samples = append(rate.samples, float64(s.deliveries)/spent.Seconds())
		perCPU.samples = append(perCPU.samples, 1e9/s.cost)
		allocs.samples = append(allocs.samples, float64(s.allocs)/float64(s.deliveries))
	}
	return []figure{cost, rate, perCPU, allocs}
}

// The publisher sends so many at once, and pauses.
const (
	publishBatch = 64
	publishPause = 2 * time.Millisecond
)

// publish is the process of the publisher: one message to each channel in turn.
func publish(spec peerSpec, memory *shared) error {
	conn, err := net.Dial("tcp", spec.Addr)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // the replies
	memory.ready.Store(1)
	var commands []byte
	for sent, next := uint64(0), 0; ; {
		commands = commands[:0]
		for range min(publishBatch, memory.wanted.Load()-sent) {
			name := "c" + strconv.Itoa(next)
			commands = fmt.Appendf(commands, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(name), name, len(payload), payload)
			next = (next + 7) % spec.Count
			sent++
		}
		if len(commands) > 0 {
			if _, err := conn.Write(commands); err != nil {
				return err
			}
		}
		time.Sleep(publishPause)
	}
}

// blast is the process of a Redis that knows only how to be subscribed to, and says messages as fast as they are read.
func blast(spec peerSpec, memory *shared) error {
	l, err := net.Listen("tcp", spec.Addr)
	if err != nil {
		return err
	}
	memory.ready.Store(1)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { _ = answerRedis(conn, memory) }()
	}
}

// answerRedis refuses every command but PSUBSCRIBE and PING.
func answerRedis(conn net.Conn, memory *shared) error {
	defer conn.Close()
	var writing sync.Mutex
	r := bufio.NewReader(conn)
	for {
		words, err := command(r)
		if err != nil {
			return err
		}
		answer := "-ERR unknown command\r\n"
		switch strings.ToLower(words[0]) {
		case "psubscribe":
			answer = fmt.Sprintf("*3\r\n$10\r\npsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(words[1]), words[1])
		case "ping":
			answer = fmt.Sprintf("*2\r\n$4\r\npong\r\n$%d\r\n%s\r\n", len(words[len(words)-1]), words[len(words)-1])
		}
		writing.Lock()
		_, err = io.WriteString(conn, answer)
		writing.Unlock()
		if err != nil {
			return err
		}
		if strings.EqualFold(words[0], "psubscribe") {
			go sayMessages(conn, &writing, memory)
		}
	}
}

// sayMessages says as many messages as are wanted.
func sayMessages(conn net.Conn, writing *sync.Mutex, memory *shared) {
	const block = 1000
	var b strings.Builder
	for i := range block {
		fmt.Fprintf(&b, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$8\r\nchat:%03d\r\n$%d\r\n%s\r\n", i, len(payload), payload)
	}
	messages := []byte(b.String())
	for sent := uint64(0); ; {
		if sent >= memory.wanted.Load() {
			time.Sleep(time.Millisecond)
			continue
		}
		writing.Lock()
		_, err := conn.Write(messages)
		writing.Unlock()
		if err != nil {
			return
		}
		sent += block
	}
}

// command reads one command as clients send it.
func command(r *bufio.Reader) (words []string, err error) {
	count, err := length(r)
	for range count {
		if err != nil {
			return nil, err
		}
		size, err := length(r)
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	if err == nil && len(words) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return words, err
}

// length reads a line like *3 or $8.
func length(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(strings.TrimLeft(line, "*$")))
}
