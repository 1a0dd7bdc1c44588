package auth_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
)

// TestAbusiveClients checks that a client that exceeds the limits is closed
// with the right code, that the relay frees its memory, and that other clients
// still receive messages.
func TestAbusiveClients(t *testing.T) {
	s := newSetup(t)
	bystander := s.dial(dialOptions{raw: true, channels: []string{"public:1"}})
	before := residentKiB(t, s.relay.PID())
	var last relaytest.Event
	// Two other codes are possible. 4408: the client read none of the answers.
	// 1006: the kernel reset the connection, because the client was still
	// sending after the relay had closed it.
	for name, tt := range map[string]struct {
		frame func(i int) []byte
		times int
		codes []uint16
	}{
		"a million subscribes": {func(i int) []byte {
			return textFrame(fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":"public:%d"}]}`, i))
		}, 1e6, []uint16{1008, 1006}},
		"a million subscribes to closed channels": {func(i int) []byte {
			return textFrame(fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":"closed:%d"}]}`, i))
		}, 1e6, []uint16{1008, 1006}},
		"many channels in one command": {func(i int) []byte {
			list := strings.Repeat(`{"channel":"public:x"},`, 599) + `{"channel":"public:x"}`
			return textFrame(`{"type":"subscribe","channels":[` + list + `]}`)
		}, 1e4, []uint16{1008, 4408, 1006}},
		"a name of 1 MiB": {func(int) []byte {
			return textFrame(`{"type":"subscribe","channels":[{"channel":"` + strings.Repeat("x", 1<<20) + `"}]}`)
		}, 1, []uint16{1009, 1006}},
		"a token of 1 MiB": {func(int) []byte {
			return textFrame(`{"type":"auth","token":"` + strings.Repeat("x", 1<<20) + `"}`)
		}, 1, []uint16{1009, 1006}},
		"100,000 pings": {func(int) []byte { return relaytest.AppendFrame(nil, true, relaytest.OpPing, []byte("x")) }, 1e5, []uint16{1008, 1006}},
		"100,000 pongs": {func(int) []byte { return relaytest.AppendFrame(nil, true, relaytest.OpPong, nil) }, 1e5, []uint16{1008, 1006}},
	} {
		c := s.dial(dialOptions{})
		chunk := new(bytes.Buffer)
		for i := range tt.times {
			chunk.Write(tt.frame(i))
			if chunk.Len() < 32<<10 && i < tt.times-1 {
				continue
			}
			if err := c.SendRaw(chunk.Bytes()); err != nil {
				break // the relay has closed the connection, as expected
			}
			chunk.Reset()
		}
		end := s.await(c, name, relaytest.Is(relaytest.KindEnd))
		if !slices.Contains(tt.codes, end.Code) {
			t.Errorf("%s: closed %d, want one of %v", name, end.Code, tt.codes)
		}
		s.redis.CLI("PUBLISH", "public:1", name)
		var err error
		last, err = bystander.AwaitAfter(t.Context(), last, relaytest.Is(relaytest.KindMessage))
		if err != nil || last.Data != name {
			t.Errorf("%s: the other client received %q, %v", name, last.Data, err)
		}
	}
	if grown := residentKiB(t, s.relay.PID()) - before; grown > 64<<10 {
		t.Errorf("the relay uses %d KiB more than before", grown)
	}
	metrics := get(t, "http://"+s.relay.AdminAddr()+"/metrics")
	const closed = `sidecast_connections_closed_total{code="1008"}`
	if !strings.Contains(metrics, closed) || strings.Contains(metrics, closed+" 0") {
		t.Error("no client was closed with 1008")
	}
}

func textFrame(text string) []byte {
	return relaytest.AppendFrame(nil, true, relaytest.OpText, []byte(text))
}

// residentKiB returns the resident memory of a process on Linux, and 0 on other
// systems.
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
