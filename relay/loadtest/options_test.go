package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestOptionsRefuse(t *testing.T) {
	tests := []struct {
		args string
		says string
	}{
		{"-clients 0", "-clients"},
		{"-clients 5 -channels 6", "-channels"},
		{"-channels 0", "-channels"},
		{"-protocol v2", "raw and v1"},
		{"-rate -1", "-rate"},
		{"-rate 1e9", "-rate"},
		{"-burst -1", "-burst"},
		{"-size 10", "-size"},
		{"-size 1GiB", "128 or 64KiB"},
		{"-size 100MiB", "-size"},
		{"-slow 100%", "-slow"},
		{"-slow 101%", "10% or 25"},
		{"-slow 2.5", "10% or 25"},
		{"-slow NaN%", "10% or 25"},
		{"-slow-rate 100", "-slow"},
		{"-for 0s", "-for"},
		{"-for 25h", "-for"},
		{"-warm-up -1s", "-warm-up"},
		{"-storm 1ms", "-storm"},
		{"-prefix a\"b", "-prefix"},
		{"-reader magic", "-reader"},
		{"-poll 2s", "-poll"},
		{"-reader goroutine -poll 1ms", "-poll"},
		{"-header nonsense", "-header"},
		{"-handshakes 0", "-handshakes"},
		{"-connect-rate -1", "-connect-rate"},
		{"-html /no/such/directory/report.html", "-html"},
		{"-no-such-option", "no-such-option"},
		{"10000", "10000"},
	}
	for _, test := range tests {
		if _, err := parseOptions(strings.Fields(test.args), io.Discard); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.args, err)
		}
	}
}

func TestOptionsTellEveryFault(t *testing.T) {
	_, err := parseOptions([]string{"-clients", "0", "-size", "1", "-for", "0s"}, io.Discard)
	for _, name := range []string{"-clients", "-size", "-for"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not told: %v", name, err)
		}
	}
}

func TestOptionsAccept(t *testing.T) {
	o, err := parseOptions(strings.Fields("-slow 10% -slow-rate 1KiB -size 2KiB -storm 5s -header Origin:x"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.slow.of(1000) != 100 || o.slowRate != 1024 || o.size != 2048 || o.storm != 5*time.Second || len(o.headers) != 1 {
		t.Errorf("%+v", o)
	}
	var help strings.Builder
	if _, err := parseOptions([]string{"-h"}, &help); !errors.Is(err, errHelp) || !strings.Contains(help.String(), "-i-own-this-target") {
		t.Errorf("%v: %s", err, help.String())
	}
}

func TestFilesAreCountedBeforehand(t *testing.T) {
	now, _ := fileLimit()
	if now > 1<<40 {
		t.Skip("this process may open as many files as it likes")
	}
	if err := (&options{clients: int(now), handshakes: 500}).checkFiles(); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("%d clients with %d files: %v", now, now, err)
	}
	if err := (&options{clients: 1, handshakes: 500}).checkFiles(); err != nil {
		t.Error(err)
	}
}

func TestShareIsSpreadEvenly(t *testing.T) {
	for _, some := range []int{0, 1, 3, 50, 99, 100} {
		n, last := 0, -1
		for i := range 100 {
			if !spread(i, some, 100) {
				continue
			}
			if n++; last >= 0 && (i-last < 100/some || i-last > 100/some+1) {
				t.Errorf("%d of 100: %d follows %d", some, i, last)
			}
			last = i
		}
		if n != some {
			t.Errorf("%d of 100 are %d", some, n)
		}
	}
}

func TestTargets(t *testing.T) {
	tests := []struct {
		url   string
		owned bool
		path  string
		says  string // of the error; "": none
	}{
		{url: "ws://127.0.0.1:8080/ws", path: "/ws"},
		{url: "ws://127.0.0.1:8080", path: "/"},
		{url: "ws://[::1]:8080/ws?x=y", path: "/ws?x=y"},
		{url: "ws://127.99.0.1/ws", path: "/ws"}, // all of 127.0.0.0/8 is this machine
		{url: "ws://192.0.2.1/ws", says: "-i-own-this-target"},
		{url: "ws://192.0.2.1/ws", owned: true, path: "/ws"},
		{url: "ws://[::ffff:192.0.2.1]/ws", says: "-i-own-this-target"},
		{url: "ws://[::ffff:127.0.0.1]/ws", path: "/ws"},
		{url: "ws://0.0.0.0/ws", says: "-i-own-this-target"},
		{url: "wss://127.0.0.1/ws", says: "wss"},
		{url: "http://127.0.0.1/ws", says: "ws://"},
		{url: "ws:///ws", says: "ws://"},
		{url: "ws://127.0.0.1/ws?channel=x", says: "-prefix"},
		{url: "ws://127.0.0.1:99999/ws", says: "port"},
		{url: "://", says: "-url"},
	}
	for _, test := range tests {
		got, err := parseTarget(t.Context(), test.url, test.owned)
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) || got.path != test.path {
			t.Errorf("%s, owned %v: %+v, %v", test.url, test.owned, got, err)
		}
	}
}

func TestRedisTargets(t *testing.T) {
	tests := []struct {
		url, says string
		owned     bool
	}{
		{url: "redis://127.0.0.1:6379"},
		{url: "redis://user:secret@127.0.0.1:6379/1"},
		{url: "unix:///run/redis.sock"}, // is this machine
		{url: "redis://192.0.2.1:6379", says: "-i-own-this-target"},
		{url: "redis://192.0.2.1:6379", owned: true},
		{url: "http://127.0.0.1", says: "redis://127.0.0.1:6379"},
	}
	for _, test := range tests {
		_, err := parseRedis(t.Context(), test.url, test.owned)
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s, owned %v: %v", test.url, test.owned, err)
		}
	}
}

func TestSourcesChangeBeforePortsRunOut(t *testing.T) {
	s := sources{many: true}
	for n, want := range map[int64]string{20_000: "127.0.0.2:0", 45_000: "127.0.0.3:0", 20_000 * 249: "127.0.0.250:0"} {
		if got := s.of(n); got == nil || got.String() != want {
			t.Errorf("connection %d comes from %v, want %s", n, got, want)
		}
	}
	for _, n := range []int64{0, 19_999, 20_000 * 250} {
		if got := s.of(n); got != nil {
			t.Errorf("connection %d comes from %v, not from wherever the kernel says", n, got)
		}
	}
	if (sources{}).of(50_000) != nil {
		t.Error("a target elsewhere is dialled from loopback")
	}
}
