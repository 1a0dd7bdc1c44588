package app

import (
	"fmt"
	"io"
	"net"
)

// banner tells a developer what this relay is and how to see it work. page is
// the URL of the demo page, console that of the console, redis the address of the embedded Redis, and opened
// the address that the developer set for access from other machines, or "".
func banner(out io.Writer, page, console, redis, opened string) {
	port := redis
	if _, p, err := net.SplitHostPort(redis); err == nil {
		port = p
	}
	fmt.Fprintf(out, `
  DEVELOPMENT MODE: Redis is in memory and loses its data when it stops; everything is open to everyone.
  Watch:    %s
  Publish:  go run . publish chat hello
            redis-cli -p %s publish chat hello
  Console:  %s

`, page, port, console)
	if opened != "" {
		fmt.Fprintf(out, "  SIDECAST_LISTEN=%s opens this to the network, but it answers only to loopback host names.\n\n", opened)
	}
}
