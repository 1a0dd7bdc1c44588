package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
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

// Server says where one Redis is and how to log in there. Printing one shows the address only.
type Server struct {
	Address  string // host:port, or the absolute path of a Unix socket
	Username string
	Password string
	DB       int         // of no consequence: Redis's pub/sub ignores it
	TLS      *tls.Config // nil: no TLS. Where ServerName is empty it is the host of the address
	Protocol int         // RESP 2 or 3; 0 means 2
}

// Errors of ParseURL. They never quote the URL, which may contain a password in an unexpected place.
var (
	errURLScheme = errors.New("the URL begins with none of redis://, rediss:// (TLS) and unix://; " +
		"write redis://host:6379")
	errURL = errors.New("the URL cannot be read; write redis://user:password@host:6379/0 and percent-encode " +
		"what is special in the user and the password, or give both apart from the URL")
	errURLOption = errors.New("the URL has an option behind its ? that has no meaning here; " +
		"db, protocol and skip_verify have")
)

// ParseURL reads redis://, rediss:// and unix:// URLs as go-redis does. Options that would change how the link works are
// refused. An error never contains a part of the URL.
func ParseURL(raw string) (Server, error) {
	scheme, _, _ := strings.Cut(raw, "://")
	if !slices.Contains([]string{"redis", "rediss", "unix"}, scheme) {
		return Server{}, errURLScheme
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Server{}, errURL
	}
	for option := range u.Query() {
		if !slices.Contains([]string{"db", "protocol", "skip_verify"}, option) {
			return Server{}, errURLOption
		}
	}
	opt, err := redis.ParseURL(raw)
	if err != nil {
		return Server{}, errURL
	}
	s := Server{
		Address: opt.Addr, Username: opt.Username, Password: opt.Password,
		DB: opt.DB, TLS: opt.TLSConfig, Protocol: opt.Protocol,
	}
	return s, s.validate()
}

// TrustCA makes PEM-encoded certificates the only ones that may have signed the server's. It refuses a server without
// TLS.
func (s *Server) TrustCA(pem []byte) error {
	if s.TLS == nil {
		return errors.New("a CA needs TLS: write the URL with rediss://")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("the CA file holds no PEM certificate")
	}
	s.TLS = s.TLS.Clone()
	s.TLS.RootCAs = pool
	return nil
}

func (s Server) validate() error {
	if s.Address == "" {
		return errors.New("the address of Redis is missing")
	}
	if s.Protocol != 0 && s.Protocol != 2 && s.Protocol != 3 {
		return errors.New("the Redis protocol is neither 2 nor 3")
	}
	return nil
}

// redact returns the text of an error without the password: a server that does not know a command may repeat its
// arguments.
func (s Server) redact(err error) string {
	if s.Password == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), s.Password, "[redacted]")
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

// options are what all our clients have in common.
func (s Server) options() *redis.UniversalOptions {
	protocol := s.Protocol
	if protocol == 0 {
		protocol = 2
	}
	return &redis.UniversalOptions{
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
}

// linkOptions are those of the client that only subscribes.
func (l *Link) linkOptions(run context.Context) *redis.UniversalOptions {
	o := l.cfg.Server.options()
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
	o := l.cfg.Server.options()
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
	conn, err := l.cfg.Server.dial(ctx, network, addr)
	if err != nil {
		l.gate.fail()
		return nil, err
	}
	t := newTap(conn, l)
	if err := l.adopt(t); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
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
