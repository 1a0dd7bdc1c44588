package auth_test

import (
	"maps"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

const theSecret = "a secret of 32 bytes and then some"

// A stage is a real relay on a real Redis.
type stage struct {
	t     *testing.T
	redis *redistest.Server
	relay *relaytest.Process
	env   map[string]string
}

// newStage starts a relay that relays everything and opens public:* to anybody.
func newStage(t *testing.T, settings ...string) *stage {
	t.Helper()
	s := &stage{t: t, redis: redistest.Start(t), env: map[string]string{}}
	s.env["SIDECAST_REDIS_URL"] = s.redis.URL()
	s.env["SIDECAST_CHANNELS"] = "*"
	s.env["SIDECAST_PUBLIC_CHANNELS"] = "public:*"
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		s.env["SIDECAST_"+name] = value
	}
	s.relay = relaytest.Start(t, s.env)
	if s.env["SIDECAST_TLS_CERT"] == "" {
		s.relay.AwaitReady()
	} else {
		s.relay.AwaitStatus("http://"+s.relay.AdminAddr()+"/readyz", 200)
	}
	return s
}

// output is what a command of the binary says with the relay's settings, on both outputs.
func (s *stage) output(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Logf("%v: %v", args, err)
	}
	return string(out)
}

func (s *stage) command(args ...string) *exec.Cmd {
	command := exec.Command(relaytest.Build(s.t), args...)
	command.Env = []string{"HOME=/nonexistent"}
	for name, value := range s.env {
		command.Env = append(command.Env, name+"="+value)
	}
	return command
}

// token mints with the binary itself.
func (s *stage) token(args ...string) string {
	s.t.Helper()
	out, err := s.command(append([]string{"token"}, args...)...).Output()
	if err != nil {
		s.t.Fatalf("minting: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// A caller is how a client connects.
type caller struct {
	raw      bool
	token    string   // as a subprotocol
	channels []string // of a raw client
	header   http.Header
	query    string
}

func (s *stage) dialer(c caller) *relaytest.Dialer {
	d := &relaytest.Dialer{URL: s.relay.URL() + c.query, Header: c.header, Channels: c.channels}
	name := "sidecast.v1"
	if c.raw {
		d.Protocol, name = relaytest.Raw, "sidecast.raw"
	}
	if c.token != "" {
		d.Offer = []string{"sidecast.token." + c.token, name}
	}
	return d
}

func (s *stage) dial(c caller) *relaytest.Client {
	s.t.Helper()
	client, err := s.dialer(c).Dial(s.t.Context())
	if err != nil {
		s.t.Fatalf("connecting: %v", err)
	}
	s.t.Cleanup(client.Drop)
	return client
}

func (s *stage) await(c *relaytest.Client, comment string, match func(relaytest.Event) bool) relaytest.Event {
	s.t.Helper()
	e, err := c.Await(s.t.Context(), match)
	if err != nil {
		s.t.Fatalf("%s: %v\nheard: %v", comment, err, c.Events())
	}
	return e
}

// wantClose waits for the end of the connection, and wants this code.
func (s *stage) wantClose(c *relaytest.Client, comment string, code uint16) {
	s.t.Helper()
	if e := s.await(c, comment, relaytest.Is(relaytest.KindEnd)); e.Code != code {
		s.t.Errorf("%s: closed %d, want %d\nheard: %v", comment, e.Code, code, c.Events())
	}
}

func on(kind relaytest.Kind, channel string) func(relaytest.Event) bool {
	return relaytest.IsOn(kind, channel)
}

func command(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	if refused, ok := err.(*relaytest.CommandError); ok {
		return refused.Code
	}
	t.Fatalf("a command: %v", err)
	return ""
}

// refuses runs a relay that must not start, and returns what it says.
func refuses(t *testing.T, env map[string]string) string {
	t.Helper()
	p := relaytest.Start(t, maps.Clone(env))
	if code := p.Wait(); code != 2 {
		t.Errorf("exit %d, want 2", code)
	}
	return p.Log()
}
