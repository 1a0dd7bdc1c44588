package source

import "strings"

// A condition is a state of the server in which it answers commands with an
// error, whatever the user's rights are.
type condition struct {
	code     string // the first word of the error
	problem  string
	do       string // advice for the operator
	readable bool   // only writes are refused
}

var conditions = []condition{
	{"LOADING", "the server is loading its data", "wait", false},
	{"BUSY", "a script or function keeps the server busy", "wait, or end it with SCRIPT KILL or FUNCTION KILL", false},
	{"MASTERDOWN", "the server is a replica without a connection to its master",
		"point SIDECAST_REDIS_URL at the master, and check why the replica does not reach it", false},
	{"READONLY", "the server is a replica, which refuses writes", "point SIDECAST_REDIS_URL at the master", true},
	{"OOM", "the server uses all memory that maxmemory allows, and refuses writes",
		"raise maxmemory in Redis, or delete data", true},
	{"MISCONF", "the server cannot save its data to disk, and refuses writes",
		"check Redis's log for the reason, for example a full disk", true},
	{"NOREPLICAS", "the server has too few replicas, and refuses writes",
		"start the replicas, or lower min-replicas-to-write in Redis", true},
	{"CLUSTERDOWN", "the cluster is down, or some of its slots have no node",
		"run redis-cli --cluster check, and start the nodes that are missing", false},
	{"TRYAGAIN", "the cluster is moving the keys to another node", "wait until the slot has moved", false},
	{"ASK", "the cluster is moving the key to another node", "wait until the slot has moved", false},
}

// conditionOf returns the condition that an error reply reports, if any.
func conditionOf(reply string) (c condition, ok bool) {
	code, _, _ := strings.Cut(reply, " ")
	for _, c := range conditions {
		if c.code == code {
			return c, true
		}
	}
	return c, false
}

// isWritesRefused reports whether the server, in its present condition, refuses
// writes and nothing else. It may refuse PING too.
func isWritesRefused(err error) bool {
	c, ok := conditionOf(replyOf(err))
	return ok && c.readable
}
