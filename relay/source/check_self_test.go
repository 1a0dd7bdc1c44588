package source_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// dialing makes a check open its connections with a function, which receives the
// number of each connection, beginning with 1.
func dialing(dial func(ctx context.Context, n int32) (net.Conn, error)) func(*source.Config) {
	return func(c *source.Config) {
		c.Connect = func(o *redis.UniversalOptions) redis.UniversalClient {
			var dials atomic.Int32
			o.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dials.Add(1)) }
			return redis.NewUniversalClient(o)
		}
	}
}

// A deafConn loses everything that arrives after the confirmation of a
// subscription.
type deafConn struct {
	net.Conn
	deaf bool
}

func (c *deafConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.deaf {
			c.deaf = c.deaf || bytes.Contains(p[:n], []byte("\r\nsubscribe\r\n"))
			return n, err
		}
	}
}

// The last line of the check says whether a message to itself arrives, and
// otherwise why not.
func TestCheckDelivery(t *testing.T) {
	t.Parallel()
	one, other := redistest.Start(t), redistest.Start(t)
	to := func(ctx context.Context, server *redistest.Server) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Addr)
	}
	alternate := dialing(func(ctx context.Context, n int32) (net.Conn, error) {
		if n == 1 {
			return to(ctx, one)
		}
		return to(ctx, other)
	})
	deaf := dialing(func(ctx context.Context, _ int32) (net.Conn, error) {
		conn, err := to(ctx, one)
		return &deafConn{Conn: conn}, err
	})
	user := func(rights ...string) func(*source.Config) {
		aclUser(t, other, rights...)
		return aclUser(t, one, rights...)
	}
	const lost = "fail self-test: a message that was published to sidecast:check did not arrive, and would not reach clients: "
	const untested = "warn self-test: not run, so it is not known whether messages arrive: at "
	for _, tt := range []struct {
		why     string
		rights  []string // nil: all
		connect func(*source.Config)
		want    string
	}{
		{"it arrives", nil, nil, "ok self-test: a message that was published to sidecast:check arrived after "},
		{"a load balancer with two servers", nil, alternate, lost + one.Addr + " leads to several servers (run_id "},
		{"the same, with a user who may not compare them", []string{"&*", "+publish"}, alternate,
			lost + "Redis accepted the message, but does not know of the subscription: "},
		{"a proxy that loses messages", nil, deaf, lost + "Redis sent it to the check, and something between Redis and this machine holds it back; " +
			"let SIDECAST_REDIS_URL lead to Redis itself"},
		{"a user without the channel", []string{"&*", "resetchannels", "&news", "&sidecast:mark", "+publish"}, nil,
			untested + one.Addr + ", Redis refuses the channel sidecast:check; grant &sidecast:check"},
		{"a user who may not publish", []string{"&*"}, nil, untested + one.Addr + ", Redis refuses the command publish; grant +publish"},
		{"a user who may not subscribe", []string{"&*", "+publish", "-subscribe"}, nil,
			untested + one.Addr + ", Redis refuses the command subscribe; grant +subscribe"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			changes := []func(*source.Config){markersOff}
			if tt.connect != nil {
				changes = append(changes, tt.connect)
			}
			if tt.rights != nil {
				changes = append(changes, user(tt.rights...))
			}
			got := source.Check(t.Context(), checkConfig(one.Addr, []string{"news"}, changes...))
			expectFindings(t, got[len(got)-1:], tt.want)
		})
	}
}

// In a cluster, a message has to arrive from each master.
func TestClusterCheckDelivery(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	masters := c.masters(t, c.nodes[0])
	last := func() []source.Finding {
		got := source.Check(t.Context(), checkConfig("", []string{"chat:*"}, c.server))
		return got[len(got)-1:]
	}
	expectFindings(t, last(), "ok self-test: a message that was published to sidecast:check at each of 3 masters arrived after ")
	const publishPackets = "4"
	masters[0].CLI("DEBUG", "DROP-CLUSTER-PACKET-FILTER", publishPackets)
	nodes := []string{masters[1].Addr, masters[2].Addr}
	if nodes[0] > nodes[1] {
		nodes[0], nodes[1] = nodes[1], nodes[0]
	}
	expectFindings(t, last(), "fail self-test: a message that was published to sidecast:check did not arrive, and would not reach clients: "+
		"the cluster does not forward what is published at "+nodes[0]+" and "+nodes[1]+" to "+masters[0].Addr+", where relays listen; check that each node")
	masters[0].CLI("DEBUG", "DROP-CLUSTER-PACKET-FILTER", "-1")
	masters[1].CLI("ACL", "SETUSER", "default", "-publish") // the rights of each node are its own
	expectFindings(t, last(), "warn self-test: not run, so it is not known whether messages arrive: at "+masters[1].Addr+
		", Redis refuses the command publish; grant +publish")
}
