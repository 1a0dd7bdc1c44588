package server

import "sidecast/relay/accept"

const (
	// maxConnections is the largest default limit on connections. For more
	// clients, a second relay works better.
	maxConnections = 50_000
	// maxAdmin is the maximum number of connections to the admin listener.
	maxAdmin = 32
	// reservedFiles is how many file descriptors the limit on connections
	// leaves for connections that do not count, for the admin listener, and for
	// connections to Redis. Those to the application are added.
	reservedFiles = 2*accept.MaxExtra + maxAdmin + 32
)

// Connections returns how many connections this process can serve, and its
// limit on file descriptors. limit is the limit on connections that the
// operator sets, or 0, and outgoing the number of connections to the
// application. By default, the result is 80 % of the file descriptors,
// but at most 50,000. It always leaves the file descriptors that the relay
// needs for itself, so it can be lower than limit. files is 0 if there is no
// limit.
func Connections(limit, outgoing int) (connections, files int) {
	return connectionsWith(limit, outgoing, fileLimit())
}

func connectionsWith(limit, outgoing, files int) (connections, _ int) {
	if files == 0 {
		if limit == 0 {
			limit = maxConnections
		}
		return limit, 0
	}
	room := max(files-reservedFiles-outgoing, files/4, 1)
	if limit == 0 {
		limit = min(files/5*4, maxConnections)
	}
	return max(min(limit, room), 1), files
}
