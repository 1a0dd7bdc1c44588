// Package accept limits the connections of a listener. It counts a connection
// from the moment it is accepted, because one that never becomes a client costs
// a file descriptor too.
//
// A [Table] holds the connections that serve plain HTTP. Each takes one of the
// [Slots]. If there is none for a new connection, the table closes the one that
// has done nothing for the longest time, if that is a second or more, and gives
// its slot to the new one. Otherwise, the new one is an extra connection: it can
// get health probes answered. A handler that turns a connection into a client
// claims it with [Conn.Claim]. If all slots belong to clients, the client is
// rejected.
package accept
