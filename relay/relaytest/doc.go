// Package relaytest is a kit for tests of a running relay. It starts the relay,
// publishes through Redis, connects clients, injects faults, and checks the
// logs against the delivery guarantees. It implements the wire protocol itself
// and shares no code with the relay, so that a mistake in one is noticed by the
// other.
//
// # Method
//
// A relay that loses one message in ten thousand when a connection breaks
// passes most tests with fixed examples. So a test records three logs, and
// [Check] compares them afterwards:
//
//   - A [Publisher] publishes numbered messages and logs the times and the
//     reply of each call. Only one publisher publishes on a channel, so the
//     order of its calls is the order in which Redis published the messages.
//     Each payload has its number and bytes that careless encoders damage. With
//     [Payloads.Equal] all payloads are the same, and only their order
//     distinguishes them.
//   - Each [Client] logs every frame that it receives, with the time, and
//     everything that it does. A [Dialer] connects clients. Clients can
//     misbehave: they can stop reading, send invalid bytes or reset the
//     connection.
//   - A [FaultLog] has the faults that the test injected, with the times when
//     they began and were undone.
//
// Check is a function of these logs only. A failed run can be checked again,
// and the rules are tested with logs that are written by hand.
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
// Two processor cores are enough for a relay and 5,000 clients, or about 1,000
// clients if both have the race detector. With more clients, pongs are so late
// that the relay closes connections. A received message uses about 600 bytes of
// memory per client. Its payload is stored once for all clients of a [Dialer].
//
// # Faults and gaps
//
// A relay that sent gaps all the time would never lose a message without a gap,
// and would be useless. So Check accepts a gap only during a fault at the relay
// that sent it, and a gap excuses only messages that were published during the
// fault and before the gap was sent. A fault lasts until the test calls
// [Injected.Settled], or until [Rules.Heal] after it was undone. It also
// concerns messages that were published up to [Rules.Lag] before it began,
// because they may have been under way.
//
// If a proxy traces the connection ([Dialer.SentAt]), Check knows when the
// relay had sent the gap. Otherwise it uses the time at which the client read
// the gap, which is later and may hide a violation.
//
// # Waiting
//
// Tests do not sleep. [Client.Await] finds an event in the log or waits for it.
// [Client.Barrier] waits until everything that the relay has queued for a
// client has arrived. [Publisher.Finish] and [Fleet.AwaitEnd] complete the
// logs. If the context has no deadline, a wait fails after [Patience]. Its
// error shows the end of the log.
//
// # Clients that reconnect
//
// A [ReconnectingClient] is one client with several connections, one after the
// other, to one relay or to several. It resumes with its cursors. Its sessions
// have one [Session.Client], and Check treats them as one client: after
// recovered:true no message may be missing or repeated. After recovered:false
// messages that were published before that answer may be missing, but none may
// be repeated. The report counts how many resumes were recovered, and how many
// were not although no message was missing, for the relay that had sent the
// cursor and for other relays. [Rules.Resumes] bounds these numbers.
//
// With [ReconnectingClient.Last], or [Dialer.Last] on raw, a client asks for the
// newest messages. Check allows as many from before its subscribe, and no hole
// after the first of them, also if the connection breaks before it arrives. With
// [Rules.AllNewest] there must not be fewer.
//
// # Durable channels
//
// On the channels of [Run.Durable] no fault excuses a loss, and the gaps of
// live channels do not concern them. Their own gaps need a cause: the entry
// after the client's position was trimmed.
//
// # Equal payloads
//
// If payloads are equal, a client cannot notice that two messages were swapped
// or that a gap arrived after the next message. Check then looks for any
// assignment of numbers to the received messages that follows the rules.
// [Payloads.Anchors] adds unique payloads at regular intervals, and a cursor
// that arrives twice shows a repeat.
//
// # Tests of the checker
//
// A checker that never reports a violation accepts every relay. TestCheck has
// at least one short log for each rule and exception.
// TestRelayDuringRedisRestart records the logs of a real relay, changes them
// into what a broken relay might have sent, and requires that Check reports
// each change under the right rule.
//
// # Soak test
//
//	go test ./relay/relaytest -run Soak -v -timeout 2h -seeds 200 -parallel 2 -for 60s
//
// TestSoak runs two or three relays on one Redis. Proxies connect the relays to
// Redis and the clients to the relays. The clients move between the relays
// while the test injects faults of production: it kills and stops Redis and
// relays, drains relays, drops packets, resets connections inside a message,
// slows connections down, and fills an output buffer of Redis. Some clients
// often stop reading. Afterwards, the answers of package why from the black
// boxes of the relays, for each message and each session, are compared with the
// logs of the clients, also for the time before a kill -9. The test prints the
// seed of each run and a summary of all runs. -faults selects faults, -durable=false omits durable
// channels, and -clocks makes the clocks of the relays wrong by a
// minute. Without flags there is one short run.
//
// # Processes
//
// [Start] runs the real binary. It is built once per test process, with the
// race detector if the tests have it. The packages redistest and faultproxy run
// real Redis servers and break connections to them.
package relaytest
