package source

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Time limits for operations on Redis.
const (
	dialTimeout      = 3 * time.Second // TCP and TLS
	handshakeTimeout = 3 * time.Second // each reply before the subscriptions, and each write
	commandTimeout   = time.Second     // a PUBLISH
)

// String returns the address.
func (s Server) String() string { return s.Address }

// GoString returns the address.
func (s Server) GoString() string { return s.Address }

// Format prints the address, whatever the verb.
func (s Server) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.Address)) }

// LogValue returns the address.
func (s Server) LogValue() slog.Value { return slog.StringValue(s.Address) }

// MarshalText returns the address.
func (s Server) MarshalText() ([]byte, error) { return []byte(s.Address), nil }

// silenceGoRedis stops go-redis from printing errors that it also returns to
// the standard error. The setting applies to the whole process.
var silenceGoRedis = sync.OnceFunc(func() { redis.SetLogger(discardLogger{}) })

type discardLogger struct{}

func (discardLogger) Printf(context.Context, string, ...any) {}

// nodeOptions returns the options that all clients have in common, which are
// those of a client for one node.
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
		Dialer:   s.dial, // includes TLS, so TLSConfig stays nil

		MaxRetries:            -1, // a message that may have been published is never published again
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

// options returns the options of a client for commands: for one node, for the
// master that Sentinels name at each dial, or for a whole cluster.
func (s Server) options() *redis.UniversalOptions {
	o := s.nodeOptions()
	switch s.Mode {
	case Sentinel:
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			master, _, err := s.master(ctx) // go-redis would believe the first Sentinel that answers
			if err != nil {
				return nil, err
			}
			conn, err := s.dial(ctx, network, master.addr)
			return conn, master.explain(err)
		}
	case Cluster:
		o.Addrs = s.addresses()
		o.IsClusterMode = true
		o.MaxRedirects = -1 // go-redis counts retries as redirects
	}
	return o
}

// newClient returns a client, which is a cluster client if the options say so.
// Unlike that of [redis.NewUniversalClient], it does not ask nodes for their
// list of all commands: it knows where the commands go that the relay uses, and
// without the right to COMMAND it would ask again for each of them.
func newClient(o *redis.UniversalOptions) redis.UniversalClient {
	if !o.IsClusterMode {
		return redis.NewUniversalClient(o)
	}
	cluster := o.Cluster()
	cluster.DisableRoutingPolicies = true
	return redis.NewClusterClient(cluster)
}

// nodeClient returns a client for commands to one node. It dials when it is
// first used.
func (s Server) nodeClient(addr string) redis.UniversalClient {
	o := withCommandLimits(s.nodeOptions())
	o.Addrs = []string{addr}
	return redis.NewUniversalClient(o)
}

// withCommandLimits sets the limits of commands whose answers are waited for,
// and returns o.
func withCommandLimits(o *redis.UniversalOptions) *redis.UniversalOptions {
	o.ReadTimeout = commandTimeout
	o.WriteTimeout = commandTimeout
	o.PoolTimeout = commandTimeout
	o.PoolSize = 16
	o.ReadBufferSize = 4 << 10
	o.WriteBufferSize = 4 << 10
	return o
}

// dial opens a connection, with TLS if it is configured. go-redis does no TLS
// itself if it has a Dialer.
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
	config, err := s.tlsConfig(addr)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, &tlsError{err: err}
	}
	return &tlsConn{Conn: secure}, nil
}
