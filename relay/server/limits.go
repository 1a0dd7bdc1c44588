package server

// maxConnections is the largest default limit on connections. For more clients,
// a second relay works better.
const maxConnections = 50_000

// DefaultConnections returns how many clients this process can serve: 80 % of
// its file descriptors, but at most 50,000. files is the limit on file
// descriptors, or 0 if there is no limit.
func DefaultConnections() (connections, files int) {
	files = fileLimit()
	if files == 0 {
		return maxConnections, 0
	}
	return max(min(files/5*4, maxConnections), 1), files
}
