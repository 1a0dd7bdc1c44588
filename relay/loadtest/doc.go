// Loadtest loads a Sidecast over the network and checks everything that it delivers.
//
//	go run ./relay/loadtest -h
//
// It connects many WebSocket clients from one process, publishes to Redis as an application does, and follows what each
// client hears. Every payload carries its channel, a sequence number, the time when it was sent and a checksum.
//
// # A first run
//
//	redis-server --port 6379
//	SIDECAST_REDIS_URL=redis://127.0.0.1:6379 SIDECAST_CHANNELS='*' SIDECAST_PUBLIC_CHANNELS='*' sidecast
//	go build -o loadtest ./relay/loadtest
//	./loadtest -clients 10000 -rate 10 -pid $(pidof sidecast) -html report.html
//
// # Shapes
//
//	-channels 1                    all clients on one channel: each message is a fan-out
//	-channels 10000                one channel each; messages go to one channel after the other
//	-rate 100                      messages a second over all channels, evenly paced
//	-burst 32 -every 1s            so many at once in place of that
//	-size 4KiB                     bytes of a payload
//	-slow 10% [-slow-rate 1KiB]    clients that do not read, or only so much a second
//	-storm 5s                      all clients drop and return at once, again and again
//	-rate 0 -pid PID               idle connections only, for the memory that they take
//
// # What is checked
//
// Whatever is published after a client was served has to come: in order, once, unchanged, on its channel. What is missing
// after a gap notice and before the next message is excused. So is what a slow client misses that is evicted, and what
// was on its way when the relay closed a connection with a code that tells the client to return (1001, 1012, 1013, 4408,
// 4410); such clients return, except slow ones. Raw clients ask for gap=close, since they cannot be told otherwise. What
// is published while a client is away is not its business. Slow clients read on at the end, and whoever was not evicted
// must have everything.
//
// The exit code is 0 if nothing was wrong, 1 if anything was or if there was nothing to measure, and 2 for bad usage.
// -strict fails on excused things too. Ctrl-C ends a run early and still reports; a second one ends at once.
//
// # What is measured
//
// Latency is the time from PUBLISH to the client, of messages sent after -warm-up. A message that the publisher could not
// send in time counts from when it was due. The time that this process takes to read is in it: on one machine with the
// relay, keep an eye on the line "this side". CPU per delivery is the relay's user and system time from the end of the
// warm-up until everything has come, over the deliveries in that time; with -poll 1ms the relay does not pay for waking
// this process. Memory per connection is the relay's RSS with idle clients, minus that before, over their number: start
// the relay anew for it, since memory that it had before is used again.
//
// # Limits
//
// Each client is an open file here and another in the relay: see ulimit -n. Beyond 20,000 connections to 127.0.0.1 the
// clients come from 127.0.0.2 and so on, because an address has 28,000 ports. Only this machine may be loaded, unless
// -i-own-this-target is given.
package main
