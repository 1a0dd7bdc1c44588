package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A target is the relay to load, resolved once: what was judged is what is dialled.
type target struct {
	addr netip.AddrPort
	host string // as in the URL, for the Host header
	path string // and query, without channels
}

// notYours says why a target was refused; the host goes in front.
const notYours = "is not this machine: a load test does to a server what an attack does, and only whoever owns it may " +
	"decide that; add -i-own-this-target if that is you"

// parseTarget reads the URL of a relay. Unless owned, it refuses everything but loopback.
func parseTarget(ctx context.Context, raw string, owned bool) (target, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return target{}, fmt.Errorf("-url: %w", err)
	case u.Scheme == "wss":
		return target{}, errors.New("-url: wss is not spoken here: test the relay behind the TLS proxy, over ws")
	case u.Scheme != "ws" || u.Hostname() == "":
		return target{}, fmt.Errorf("-url %q: write it like ws://127.0.0.1:8080/ws", raw)
	case u.Query().Has("channel"):
		return target{}, errors.New("-url: leave the channel out of it; -prefix and -channels say which there are")
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	addr, err := resolve(ctx, u.Hostname(), port)
	if err != nil {
		return target{}, fmt.Errorf("-url: %w", err)
	}
	if !addr.Addr().IsLoopback() && !owned {
		return target{}, fmt.Errorf("-url: %s %s", addr.Addr(), notYours)
	}
	return target{addr: addr, host: u.Host, path: u.RequestURI()}, nil
}

// resolve returns the first address of a host, IPv4 before IPv6, because 127.0.0.0/8 has many source addresses.
func resolve(ctx context.Context, host, port string) (netip.AddrPort, error) {
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolving port %s: %w", port, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("resolving %s: %w", host, err)
	}
	best := addrs[0].Unmap()
	for _, addr := range addrs {
		if addr.Unmap().Is4() {
			best = addr.Unmap()
			break
		}
	}
	return netip.AddrPortFrom(best, uint16(number)), nil
}

// parseRedis reads the URL of a Redis, under the same rule.
func parseRedis(ctx context.Context, raw string, owned bool) (*redis.Options, error) {
	opts, err := redis.ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w; write it like redis://127.0.0.1:6379", err)
	}
	if opts.Network == "unix" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w", err)
	}
	addr, err := resolve(ctx, host, port)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w", err)
	}
	if !addr.Addr().IsLoopback() && !owned {
		return nil, fmt.Errorf("-redis: %s %s", addr.Addr(), notYours)
	}
	opts.Addr = addr.String()
	return opts, nil
}

// sources are the addresses that one client after the other connects from. An address has some 28,000 ports towards one
// target, and those of connections that were just closed stay taken for a while.
type sources struct {
	many bool // 127.0.0.0/8: all of it is this machine's
}

const (
	connectionsPerSource = 20_000
	loopbackSources      = 250
)

// of returns the source of the n-th connection, counted over the whole run; nil leaves it to the kernel.
func (s sources) of(n int64) net.Addr {
	index := n / connectionsPerSource % loopbackSources
	if !s.many || index == 0 {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+index))}
}

func (t target) sources() sources {
	return sources{many: t.addr.Addr().Is4() && t.addr.Addr().IsLoopback()}
}

// validHeader reports whether a line given with -header can stand in a request.
func validHeader(line string) bool {
	name, _, found := strings.Cut(line, ":")
	return found && name != "" && !strings.ContainsAny(name, " \t") && !strings.ContainsAny(line, "\r\n\x00")
}
