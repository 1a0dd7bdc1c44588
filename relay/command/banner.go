package command

import (
	"fmt"
	"io"
	"net"
)

// Banner tells whoever starts the relay for development what it is, and how to see it work. page is the demo's URL, redis
// where the Redis in memory listens, and opened the address that somebody wants to be reached at from elsewhere, or empty.
func Banner(out io.Writer, page, redis, opened string) {
	port := redis
	if _, p, err := net.SplitHostPort(redis); err == nil {
		port = p
	}
	fmt.Fprintf(out, `
  DEVELOPMENT MODE: Redis is in memory and forgets everything, and everything is open to everybody.
  Watch:    %s
  Publish:  go run . publish chat hello
            redis-cli -p %s publish chat hello

`, page, port)
	if opened != "" {
		fmt.Fprintf(out, "  SIDECAST_LISTEN=%s opens this to the network, but only loopback host names are answered.\n\n", opened)
	}
}
