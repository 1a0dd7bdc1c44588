// Package blackbox records what happens in a relay, in a bounded ring: which
// messages arrived, who was connected and subscribed, who was refused, evicted
// or notified of a gap, and when the link to Redis was up. From the records, one
// can tell afterwards whether a client received a message, and why not. There is
// never a payload or a credential in them, but there are names of channels and
// of users.
//
// A [Box] writes records, and a [Reader] reads them: those of a Box, or those in
// the file of a relay that has crashed. The methods of a Box take no longer than
// it takes to write some bytes, and allocate nothing.
//
// # What the records say
//
// For each message there is one record, not one for each client. Who received it
// is derived: each message of a live channel has a number in the order of all of
// them ([Record.Seq]), a record says from which number on a subscription
// receives messages, and another one up to which. The messages that a client had
// missed and received later are described by their first and last place
// ([Record.From], [Record.To]). When a session ends, its record says from which
// number on messages that were meant for it were dropped.
//
// # The ring
//
// The ring consists of segments, which are overwritten in turn. A segment can be
// read without any other: it repeats the names that it uses. Sessions that last
// longer than the ring remembers are repeated too ([Box.Census]).
//
// Records of refused clients have segments of their own, an eighth of the ring:
// clients can cause them at will, with names that they invent, and so cannot
// overwrite the others.
//
// In a file, the segments follow a header. A record is complete before the
// length of its segment is changed, so whatever ends the process leaves whole
// records. They are not written to the disk at once: they survive the end of the
// process, but not the end of the machine. If the file cannot be used any more,
// because it was truncated or its disk fails, the box goes on in memory
// ([Box.Err]).
package blackbox
