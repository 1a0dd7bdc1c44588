package source

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Time limits towards Redis.
const (
	dialTimeout      = 3 * time.Second // TCP and TLS
	handshakeTimeout = 3 * time.Second // each reply before the subscriptions, and each write
	commandTimeout   = time.Second     // a PUBLISH
)

// redact returns the text of an error without the passwords: a server that does not know a command may repeat its
// arguments.
func (s Server) redact(err error) string {
	text := err.Error()
	passwords := []string{s.Password, s.SentinelPassword}
	if s.Credentials != nil {
		if _, now, err := s.Credentials(); err == nil {
			passwords = append(passwords, now)
		}
	}
	for _, password := range passwords {
		if password != "" {
			text = strings.ReplaceAll(text, password, "[redacted]")
		}
	}
	return text
}

// String returns the address.
func (s Server) String() string { return s.Address }

// GoString returns the address.
func (s Server) GoString() string { return s.Address }

// Format prints the address, whatever the verb.
func (s Server) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.Address)) }

// LogValue logs the address.
func (s Server) LogValue() slog.Value { return slog.StringValue(s.Address) }

// MarshalText returns the address.
func (s Server) MarshalText() ([]byte, error) { return []byte(s.Address), nil }

// quiet stops go-redis from printing to the standard error what it also returns. It is a setting of the whole process.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// nodeOptions are what all our clients have in common: those of a client for one node.
func (s Server) nodeOptions() *redis.UniversalOptions {
	protocol := s.Protocol
	if protocol == 0 {
		protocol = 2
	}
	o := &redis.UniversalOptions{
		Addrs:    []string{s.Address},
		Username: s.Username,
		Password: s.Password,
		DB:       s.DB,
		Protocol: protocol,
		Dialer:   s.dial, // TLS included, so TLSConfig stays nil

		MaxRetries:            -1, // what may have been published is never published again
		DialerRetries:         1,
		DialTimeout:           dialTimeout,
		ReadTimeout:           handshakeTimeout,
		WriteTimeout:          handshakeTimeout,
		ContextTimeoutEnabled: true,

		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.Credentials != nil {
		o.CredentialsProviderContext = func(context.Context) (string, string, error) { return s.credentials() }
	}
	return o
}

// options are those of a client for commands: for one node, the master that Sentinels name at each dial, or a whole
// cluster.
func (s Server) options() *redis.UniversalOptions {
	o := s.nodeOptions()
	switch s.Mode {
	case Sentinel:
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			addr, _, err := s.master(ctx) // go-redis would believe the first Sentinel that answers
			if err != nil {
				return nil, err
			}
			return s.dial(ctx, network, addr)
		}
	case Cluster:
		o.Addrs = s.addresses()
		o.IsClusterMode = true
		o.MaxRedirects = -1 // go-redis counts retries as redirects
	}
	return o
}

// linkOptions are those of the client that only subscribes. It is one for a single node in every mode, and it is dial that
// finds the node: go-redis's clients for Sentinel and Cluster would dial for questions of their own in the same breath, on
// conns that look like the link.
func (l *Link) linkOptions(run context.Context) *redis.UniversalOptions {
	o := l.cfg.Server.nodeOptions()
	o.OnConnect = l.inspect
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(linkKey{}) == nil {
			return l.cfg.Server.dial(ctx, network, addr)
		}
		return l.dial(ctx, run, network, addr)
	}
	return o
}

// commandOptions are those of the client that publishes.
func (l *Link) commandOptions() *redis.UniversalOptions {
	o := hurry(l.cfg.Server.options())
	if l.cfg.Server.Mode == Sentinel {
		o.Dialer = l.dialBeside
	}
	return o
}

// beside returns a client for questions to one node, which dials when it is asked one.
func (s Server) beside(addr string) redis.UniversalClient {
	o := hurry(s.nodeOptions())
	o.Addrs = []string{addr}
	return redis.NewUniversalClient(o)
}

// hurry gives options the limits of commands that are waited for.
func hurry(o *redis.UniversalOptions) *redis.UniversalOptions {
	o.ReadTimeout = commandTimeout
	o.WriteTimeout = commandTimeout
	o.PoolTimeout = commandTimeout
	o.PoolSize = 16
	o.ReadBufferSize = 4 << 10
	o.WriteBufferSize = 4 << 10
	return o
}

// dial opens the link's conn, on the link's goroutine. go-redis calls it as soon as the old conn ends, inside Receive
// and under a lock, so it refuses at once while the gate is closed. It ends when run does.
func (l *Link) dial(ctx, run context.Context, network, addr string) (net.Conn, error) {
	if l.gate.closed() {
		return nil, errGated
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	conn, addr, err := l.reach(ctx, network, addr)
	if err != nil {
		l.gate.fail()
		return nil, err
	}
	t := newTap(conn, l)
	t.addr = addr
	l.escort.follow(addr)
	if l.cfg.Server.Mode != Standalone {
		t.beside = l.cfg.Server.beside(addr)
	}
	if err := l.adopt(t); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// reach finds the node to listen to, and opens a conn to it. addr is go-redis's, which knows of one node only.
func (l *Link) reach(ctx context.Context, network, addr string) (net.Conn, string, error) {
	if l.cfg.Server.Mode != Standalone {
		var err error
		if addr, err = l.locate(ctx); err != nil {
			return nil, "", err
		}
	}
	conn, err := l.cfg.Server.dial(ctx, network, addr)
	return conn, addr, err
}

// dial opens a conn and does TLS on it. go-redis does none where it is given a Dialer.
func (s Server) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil || s.TLS == nil {
		return conn, err
	}
	config := s.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName = addr
		if host, _, err := net.SplitHostPort(addr); err == nil {
			config.ServerName = host
		}
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, &tlsError{err}
	}
	return secure, nil
}

// tlsError says that a conn was made but TLS on it was not.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }
