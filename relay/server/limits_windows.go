package server

// fileLimit is 0: Windows has no such limit on sockets.
func fileLimit() int { return 0 }
