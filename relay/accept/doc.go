// Package accept limits the connections of a listener. It counts a connection
// from the moment it is accepted, because one that never becomes a client costs
// a file descriptor too.
//
// A [Table] holds the connections that serve plain HTTP. Each takes one of the [Slots]. If
// there is none for a new connection, the table closes the connection that has
// done nothing for the longest time and gives its slot to the new one. If there
// is no such connection, because all slots belong to clients, the new one is an
// extra connection: it can get health probes answered, but its client is
// rejected. A handler that turns a connection into a client claims it with
// [Conn.Claim].
package accept
