package auth_test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

const testSecret = "a secret of 32 bytes and then some"

// A setup is a relay process and its Redis server.
type setup struct {
	t     *testing.T
	redis *redistest.Server
	relay *relaytest.Process
	env   map[string]string
}

// newSetup starts a relay that relays all channels and opens public:* to
// everyone. Each setting is a name without SIDECAST_, =, and a value.
func newSetup(t *testing.T, settings ...string) *setup {
	t.Helper()
	s := &setup{t: t, redis: redistest.Start(t), env: map[string]string{}}
	s.env["SIDECAST_REDIS_URL"] = s.redis.URL()
	s.env["SIDECAST_CHANNELS"] = "*"
	s.env["SIDECAST_PUBLIC_CHANNELS"] = "public:*"
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		s.env["SIDECAST_"+name] = value
	}
	s.relay = relaytest.Start(t, s.env)
	s.relay.AwaitReady()
	return s
}

// output runs the sidecast command with the relay's settings and returns its
// combined output.
func (s *setup) output(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Logf("%v: %v", args, err)
	}
	return string(out)
}

// command returns the sidecast command with the relay's settings as its
// environment.
func (s *setup) command(args ...string) *exec.Cmd {
	command := exec.Command(relaytest.Build(s.t), args...)
	command.Env = []string{"HOME=/nonexistent", "SIDECAST_LISTEN=127.0.0.1:0", "SIDECAST_ADMIN_LISTEN=127.0.0.1:0"}
	for name, value := range s.env {
		command.Env = append(command.Env, name+"="+value)
	}
	return command
}

// token creates a token with `sidecast token`.
func (s *setup) token(args ...string) string {
	s.t.Helper()
	out, err := s.command(append([]string{"token"}, args...)...).Output()
	if err != nil {
		s.t.Fatalf("creating a token: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// dialOptions are the ways in which a client connects.
type dialOptions struct {
	raw      bool     // sidecast.raw instead of sidecast.v1
	token    string   // as a subprotocol
	channels []string // only for raw
	header   http.Header
	query    string
}

func (s *setup) dialer(c dialOptions) *relaytest.Dialer {
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

func (s *setup) dial(c dialOptions) *relaytest.Client {
	s.t.Helper()
	client, err := s.dialer(c).Dial(s.t.Context())
	if err != nil {
		s.t.Fatalf("connecting: %v", err)
	}
	s.t.Cleanup(client.Drop)
	return client
}

// await waits for an event of the client. comment says what the test waits for.
func (s *setup) await(c *relaytest.Client, comment string, match func(relaytest.Event) bool) relaytest.Event {
	s.t.Helper()
	e, err := c.Await(s.t.Context(), match)
	if err != nil {
		s.t.Fatalf("%s: %v\nreceived: %v", comment, err, c.Events())
	}
	return e
}

// wantClose waits until the connection is closed, and checks the close code.
func (s *setup) wantClose(c *relaytest.Client, comment string, code uint16) {
	s.t.Helper()
	if e := s.await(c, comment, relaytest.Is(relaytest.KindEnd)); e.Code != code {
		s.t.Errorf("%s: closed %d, want %d\nreceived: %v", comment, e.Code, code, c.Events())
	}
}

// resultOf returns the error code of a command, or "ok".
func resultOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	if failed, ok := err.(*relaytest.CommandError); ok {
		return failed.Code
	}
	t.Fatalf("the command failed without a code: %v", err)
	return ""
}
