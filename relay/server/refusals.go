package server

import (
	"sidecast/relay/accept"
	"sidecast/relay/stats"
)

// What the log says about connections and requests that the listener refuses.
var (
	addressLimit = accept.Problem{
		Reason: stats.RejectAddress,
		Text:   "too many connections from one address, or too many new ones in a second",
		Do: "if many clients share this address, raise SIDECAST_MAX_CONNECTIONS_PER_IP or SIDECAST_MAX_CONNECT_RATE_PER_IP; " +
			"if it is your proxy, add it to SIDECAST_TRUSTED_PROXIES",
	}
	idleLimit = accept.Problem{
		Reason: stats.RejectIdle,
		Text:   "all places are taken, so the oldest connection without a WebSocket is closed",
		Do:     "if these are no attack, raise SIDECAST_MAX_CONNECTIONS or start another relay",
	}
)
