// Package relaytest is the kit with which Sidecast's promises are tested from outside: it publishes, listens, breaks
// things, and judges. It knows the wire and nothing of the relay's insides, and shares no code with the relay, so that
// one mistake cannot be made on both sides and cancel out.
//
// # The method
//
// "Nothing is lost in silence" cannot be tested by examples: a relay that loses one message in ten thousand when a link
// breaks passes them all. So three logs are kept, and judged together afterwards.
//
//   - A [Publisher] sends messages that are numbered, one writer a channel, so that the order of its calls is the order
//     in which Redis published. Its log has each call's times and reply. The number is sealed into the payload, amid bytes
//     that careless encoders choke on; or all payloads are equal, and only the order tells them apart.
//   - Clients, made by a [Dialer], log every frame with the time at which it came, and what they did themselves. They can
//     misbehave: stop reading, read slowly, send rubbish, fall silent, reset the connection.
//   - A [FaultLog] has what the test did to Redis, the relay and the network between them, from when to when.
//
// [Check] is a function of these logs and of nothing else: it holds the relay to the contract for live channels and
// returns what broke it. A failed run can be judged again, and its rules are tested by logs written by hand.
//
//	server := redistest.Start(t)
//	relay := relaytest.Start(t, map[string]string{
//		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "chat:*", "SIDECAST_PUBLIC_CHANNELS": "chat:*",
//	})
//	relay.AwaitReady()
//
//	fleet, err := (&relaytest.Dialer{URL: relay.URL()}).DialFleet(ctx, 1000)
//	err = fleet.Subscribe(ctx, "chat:1")
//	p := relaytest.NewPublisher(relaytest.PublishTo(client), relaytest.Payloads{Bytes: relaytest.BytesHostile})
//	err = p.Run(ctx, []string{"chat:1"}, 100, 0)
//
//	var faults relaytest.FaultLog
//	fault := faults.Begin(relaytest.Fault{Name: "kill redis", Gap: relaytest.Once, Offline: relaytest.Once})
//	server.Kill()
//	server.Restart()
//	fault.Undone()
//	err = fleet.Await(ctx, relaytest.Is(relaytest.KindGap))
//	fault.Settled()
//
//	err = p.Finish(ctx)
//	err = fleet.AwaitEnd(ctx, p)
//	report := relaytest.Check(relaytest.Run{
//		Published: p.Log(), Sessions: fleet.Sessions(), Faults: faults.Faults(),
//	})
//	err = report.Err()
//
// Two cores carry 5,000 clients against a relay beside them, and about 1,000 with the race detector in both: beyond that
// clients come to answer pings so late that the relay is right to hang up. A message that a client heard takes about 600
// bytes of memory, its payload apart, which is kept once for all clients of a [Dialer].
//
// # What a gap may explain
//
// A relay that sent gaps all the time would lose nothing in silence and be worth nothing. So a gap must lie in the time of
// a fault, at the relay that sent it, and explains only messages that were published in that time and before the gap was
// sent. That time is from [Rules.Lag] before the fault, for what was under way then, until the test calls it settled, or
// [Rules.Heal] after it was undone. A gap was sent when it came to the proxy that traces the connection ([Dialer.SentAt]),
// or else at the latest when the client read it: a client that reads is judged as strictly as the logs allow, and no relay
// is accused of what it may not have done.
//
// # Waiting
//
// Nothing sleeps. [Client.Await] finds events that came or are to come; [Client.Barrier] waits until everything queued for
// a client before has come; [Publisher.Finish] and [Fleet.AwaitEnd] make sure that the logs are complete. All waits end
// after [Patience] where the context has no deadline, and say what the log ended with.
//
// # Who watches the checker
//
// A checker that never complains passes every relay. The tests of this package run it on a small relay of their own that
// is broken in one way after the other: it drops, repeats, swaps, leaks, changes a byte, tells of a gap too late, too
// early, twice, without a cause or not at all, or stays dead after a fault. Each must be caught by the rule that it breaks,
// with numbered and with equal payloads, and the same relay unbroken must pass.
//
// Equal payloads hide what no client can see: two that were swapped, or a gap behind the next message. With them the
// checker asks whether any numbering of what came follows the rules; [Payloads.Anchors] puts messages between them that
// tell their number, and a cursor that comes twice tells a repeat.
//
// Those who come back are tried on a simulated world: several relays that resume by markers, fed from one ordered log
// over links that lag and break, and clients that are cut at any moment. It takes milliseconds, and a seed brings it back.
// Some forty ways to break the rules of delivery and of resuming, of the relay and of the client, must each be caught: the
// table in simmutant_test.go reads as the list of these rules.
//
// # Coming back
//
// Sessions of one [Session.Client] are one listener that came back with its cursors: a [Traveller]. After recovered:true
// nothing may be missing and nothing may come twice across the two; after recovered:false what was published before that
// answer may be missing, but nothing may come twice either, whichever relay it is. How many were recovered, and how many of
// those who were not had missed nothing, is counted for relays that gave the cursor themselves and for others;
// [Rules.Resumes] bounds it.
//
// # Streams
//
// On the channels of [Run.Durable] no fault excuses a loss, and no gap of the live channels concerns them. Their own gaps
// must have a cause: the entry where the listener was has been trimmed away, or a fault that [Fault.Resets] the stream.
//
// # Soaking
//
//	go test ./relay/relaytest -run Soak -v -timeout 2h -seeds 200 -parallel 2 -for 60s
//
// runs real relays, two or three, on a real Redis behind proxies, with travellers behind proxies of their own, and does to
// them what goes wrong in production: kills and stops of Redis and of relays, drains, black holes, resets in the middle of a
// message, slow links, a full output buffer. It prints the seed of each run and ends with one line. -faults does only some of
// these things, -durable=false leaves out streams, -clocks lets the relays' clocks be wrong by a minute. Without flags
// there is one short run.
//
// # Processes
//
// [Start] runs the real binary, built once a test process and with the race detector where the tests have it. The
// packages redistest and faultproxy beside this one run real Redis servers and break connections to them.
package relaytest
