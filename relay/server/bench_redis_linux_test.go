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

// A floorSink receives messages from Redis for the hub, or for the floor during
// the floor's turns. The floor writes the frame to the channel's only client.
type floorSink struct {
	*relay.Hub
	floor *floor
	frame []byte
	turn  atomic.Bool // it is the floor's turn
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

// unicastRedis publishes to a real Redis, each message to one of 5,000 clients.
// The floor receives through the same link, so its cost includes reading from
// Redis.
func unicastRedis(b *testing.B) []figure {
	const n, batch = 5000, 3200
	redis := redistest.Start(b)
	r := startOnline(b)
	sink := &floorSink{Hub: r.hub, frame: rawFrame(payload)}
	runLink(b, redis.Addr, sink, r.stats)
	p := startPeer(b, peerSpec{Role: "read", Addr: r.addr, Path: "/?channel=c%d", Count: n})
	sink.floor = newFloor(b, r, n)
	publisher := startPeer(b, peerSpec{Role: "publish", Addr: redis.Addr, Count: n})
	one := func(floor bool) side {
		return func() int {
			sink.turn.Store(floor)
			publisher.toPublish.Add(batch)
			time.Sleep(batch / publishBatch * publishPause) // the minimum time for publishing
			p.expect(b, uint64(batch*len(sink.frame)))
			return batch
		}
	}
	figures := compare(one(false), one(true), 1.15, 1.01)
	figures[0].unit = "x-floor+ingest"
	return figures
}

// ingest reads messages from a simulated Redis, without subscribers and without
// a history.
func ingest(b *testing.B) []figure {
	return measureIngest(b, figure{unit: "us/message", most: 0.15}, figure{unit: "messages/s", least: 3e6}, 0)
}

// ingestWithHistory reads messages without subscribers, but with a history.
func ingestWithHistory(b *testing.B) []figure {
	return measureIngest(b, figure{unit: "us/message", most: 0.30}, figure{unit: "messages/s"}, 64<<20)
}

func measureIngest(b *testing.B, cost, rate figure, history int) []figure {
	const batch = 1_000_000
	perCPU := figure{unit: "messages/CPU-s"}
	allocs := figure{unit: "allocs/message", most: 0.001}
	redis := redistest.FreeAddr(b)
	r := startRelay(b, func(o *relayOptions) { o.history = history })
	p := startPeer(b, peerSpec{Role: "redis", Addr: redis})
	runLink(b, redis, r.hub, r.stats)
	var elapsed time.Duration // includes waiting for the peer
	one := side(func() int {
		until := r.stats.RedisMessages.Load() + batch
		p.toPublish.Add(batch)
		began := time.Now()
		for r.stats.RedisMessages.Load() < until {
			time.Sleep(time.Millisecond)
		}
		elapsed += time.Since(began)
		return batch
	})
	one.turn()
	for range turns {
		elapsed = 0
		s := one.turn()
		cost.samples = append(cost.samples, s.cost/1000)
		rate.samples = append(rate.samples, float64(s.deliveries)/elapsed.Seconds())
		perCPU.samples = append(perCPU.samples, 1e9/s.cost)
		allocs.samples = append(allocs.samples, float64(s.allocs)/float64(s.deliveries))
	}
	return []figure{cost, rate, perCPU, allocs}
}

// The publisher sends batches of messages with a pause after each.
const (
	publishBatch = 64
	publishPause = 2 * time.Millisecond
)

// publish is the process of the publisher. It sends one message to each channel
// in turn.
func publish(spec peerSpec, memory *shared) error {
	conn, err := net.Dial("tcp", spec.Addr)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // discards the replies
	memory.ready.Store(1)
	var commands []byte
	for sent, next := uint64(0), 0; ; {
		commands = commands[:0]
		for range min(publishBatch, memory.toPublish.Load()-sent) {
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

// serveFakeRedis is the process of a simulated Redis. It accepts subscriptions,
// and sends messages as fast as the relay reads them.
func serveFakeRedis(spec peerSpec, memory *shared) error {
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

// answerRedis answers PSUBSCRIBE and PING. Other commands get an error.
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
			go sendMessages(conn, &writing, memory)
		}
	}
}

// sendMessages sends messages until memory.toPublish have been sent, and then
// waits for more.
func sendMessages(conn net.Conn, writing *sync.Mutex, memory *shared) {
	const block = 1000
	var b strings.Builder
	for i := range block {
		fmt.Fprintf(&b, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$8\r\nchat:%03d\r\n$%d\r\n%s\r\n", i, len(payload), payload)
	}
	messages := []byte(b.String())
	for sent := uint64(0); ; {
		if sent >= memory.toPublish.Load() {
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

// command reads one command in RESP.
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

// length reads a line such as *3 or $8.
func length(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(strings.TrimLeft(line, "*$")))
}
