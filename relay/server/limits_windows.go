package server

// fileLimit returns 0, because Windows does not limit the number of sockets.
func fileLimit() int { return 0 }
