package relaytest

const (
	subscribeA = "@a 0:opened 1:welcome 2:ask 3:joined "
	abort      = "15:aborted 15:end / "
	resumeA    = "@a 25:opened 26:welcome 27:resume "
	resumeB    = "@b 25:opened 26:welcome 27:resume "

	// The client receives one message, leaves, and returns to the same relay or
	// to another one.
	away    = subscribeA + "11:m1 " + abort
	backAtA = away + resumeA
	backAtB = away + resumeB
)

// resumeCases are clients that reconnect with their cursors, to the same relay
// or to another one.
var resumeCases = []checkCase{
	// recovered:true.
	{why: "recovered", publish: fourth, log: backAtA + "28:recovered 29:m2 31:m3 41:m4", resumes: "1/0/0 0/0/0"},
	{why: "recovered on another relay", publish: fourth, log: backAtB + "28:recovered 29:m2 31:m3 41:m4",
		resumes: "0/0/0 1/0/0"},
	{why: "recovered, the first is missing", publish: fourth, log: backAtA + "28:recovered 31:m3 41:m4",
		resumes: "1/0/0 0/0/0", want: "hole 1"},
	{why: "recovered, one is missing in the replay", publish: fourth,
		log: away + "@a 42:opened 43:welcome 44:resume 45:recovered 46:m2 47:m4", resumes: "1/0/0 0/0/0",
		want: "hole 1"},
	{why: "recovered, the end of the replay is missing", publish: "10 20 30 100",
		log: away + "@a 42:opened 43:welcome 44:resume 45:recovered 46:m2 101:m4", resumes: "1/0/0 0/0/0",
		want: "hole 1"},
	{why: "recovered, nothing arrives", publish: fourth, log: backAtA + "28:recovered", resumes: "1/0/0 0/0/0",
		want: "hole 1"},
	{why: "recovered, a repeat", publish: fourth, log: backAtA + "28:recovered 28:m1 29:m2 31:m3 41:m4",
		resumes: "1/0/0 0/0/0", want: "duplicate 1"},
	{why: "recovered on another relay, a repeat", publish: fourth,
		log: backAtB + "28:recovered 28:m1 29:m2 31:m3 41:m4", resumes: "0/0/0 1/0/0", want: "duplicate 1"},
	{why: "recovered, the end of the replay arrives twice", publish: fourth,
		log: backAtA + "28:recovered 29:m2 31:m3 32:m3 41:m4", resumes: "1/0/0 0/0/0", want: "duplicate 1"},
	{why: "recovered, the replay is in the wrong order", publish: fourth,
		log: away + "@a 42:opened 43:welcome 44:resume 45:recovered 46:m3 47:m2 48:m4", resumes: "1/0/0 0/0/0",
		want: "reorder 1"},
	{why: "recovered, a new message overtakes the replay", publish: fourth,
		log: backAtA + "28:recovered 31:m3 32:m2 41:m4", resumes: "1/0/0 0/0/0", want: "reorder 1"},
	{why: "recovered, the replay goes on after unsubscribed", publish: fourth,
		log: away + "@a 42:opened 43:welcome 44:resume 45:recovered 46:m2 47:left 48:m3", resumes: "1/0/0 0/0/0",
		want: "leak 1"},
	{why: "recovered, the fault in between needs a gap", publish: "10 20 30 2000", faults: "15-25 ends",
		log:     subscribeA + "11:m1 16:end / @a 100:opened 101:welcome 102:resume 103:recovered 104:m3 2001:m4",
		resumes: "1/0/0 0/0/0", want: "missing gap 1"},
	{why: "recovered, and the gap follows the next message", publish: "10 20 30 2000", faults: "15-25 ends",
		log:     subscribeA + "11:m1 16:end / @a 100:opened 101:welcome 102:resume 103:recovered 104:m3 105:gap 2001:m4",
		resumes: "1/0/0 0/0/0", want: "late gap 1"},
	{why: "recovered, and a gap instead of a message that was too large", publish: fourth, faults: "19-21 on-a any 30",
		log: backAtA + "28:recovered 29:gapa 31:m3 41:m4", resumes: "1/0/0 0/0/0"},
	{why: "recovered, without the gap instead of a message that was too large", publish: fourth,
		faults: "19-21 on-a any 30", log: backAtA + "28:recovered 31:m3 41:m4", resumes: "1/0/0 0/0/0",
		want: "missing gap 1"},
	{why: "the connection ends before the answer", publish: fourth,
		log: away + "@b 16:opened 17:welcome 18:resume 19:aborted 19:end / " +
			resumeB + "28:recovered 29:m2 31:m3 41:m4",
		resumes: "0/0/0 1/0/0"},
	{why: "recovered on two relays, one is missing at the second", publish: "10 20 30 40 50",
		log: backAtB + "28:recovered 29:m2 30:aborted 30:end / " +
			"@a 35:opened 36:welcome 37:resume 38:recovered 41:m4 51:m5",
		resumes: "0/0/0 2/0/0", want: "hole 1"},
	{why: "recovered, two relays give one cursor to two messages", publish: fourth,
		log:     subscribeA + "11:m1#x " + abort + resumeB + "28:recovered 29:m2#x 31:m3#y 41:m4#z",
		resumes: "0/0/0 1/0/0", want: "cursor 1"},

	// recovered:false.
	{why: "not recovered, some are missing", publish: fourth, log: backAtB + "28:joined 31:m3 41:m4",
		resumes: "0/0/0 0/1/0"},
	{why: "not recovered, none is missing", publish: "10 30 40", log: backAtB + "28:joined 31:m2 41:m3",
		resumes: "0/0/0 0/1/1"},
	{why: "not recovered, a repeat", publish: fourth,
		log:     subscribeA + "11:m1 21:m2 22:aborted 22:end / " + resumeB + "28:joined 29:m2 31:m3 41:m4",
		resumes: "0/0/0 0/1/1", want: "duplicate 1"},
	{why: "not recovered, an older message", publish: "10 20 30 2000", faults: "15-35 at-a ends",
		log:     subscribeA + "11:m1 26:gap 31:m3 33:aborted 33:end / @b 45:opened 46:welcome 47:resume 48:joined 49:m2 2001:m4",
		resumes: "0/0/0 0/1/1", want: "reorder 1"},
	{why: "not recovered, and the answer was sent before the loss", publish: fourth,
		log:     subscribeA + "11:m1 15:aborted 15:end / @b 16:opened 17:welcome 18:resume 28<19:joined 31:m3 41:m4",
		resumes: "0/0/0 0/1/1", want: "hole 1"},
	{why: "not recovered, and a loss after the answer", publish: fourth, log: backAtB + "28:joined 41:m4",
		resumes: "0/0/0 0/1/0", want: "hole 1"},
	{why: "not recovered, and a loss long before the end", publish: "10 20 500 510",
		log:     subscribeA + "11:m1 300:aborted 301:end / @b 400:opened 401:welcome 402:resume 403:joined 501:m3 511:m4",
		resumes: "0/0/0 0/1/0", want: "hole 1"},
	{why: "not recovered, and the replay before had not ended", publish: "10 20 30 500 510",
		log: subscribeA + "11:m1 15:aborted 15:end / @b 100:opened 101:welcome 102:resume 103:recovered 104:m2 300:aborted 301:end / " +
			"@a 400:opened 401:welcome 402:resume 403:joined 501:m4 511:m5",
		resumes: "0/0/0 1/1/0"},
	{why: "not recovered, and the client left during a fault", publish: "10 20 500 2000", faults: "15-410 at-a ends",
		log:     subscribeA + "11:m1 300:aborted 301:end / @b 400:opened 401:welcome 402:resume 403:joined 501:m3 2001:m4",
		resumes: "0/0/0 0/1/0"},

	// A gap during the replay.
	{why: "the history ends during the replay", publish: "10 20 30 40 50",
		log:     away + "@b 32:opened 32:welcome 32:resume 33:recovered 34:m2 35:history 41:m4 51:m5",
		resumes: "0/0/0 0/1/0"},
	{why: "the history ends during the replay, and the client unsubscribes later", publish: "10 20 30 40 50",
		log: away + "@b 32:opened 32:welcome 32:resume 33:recovered 34:m2 35:history " +
			"41:m4 45:left 48:ask 49:joined 51:m5",
		resumes: "0/0/0 0/1/0"},
	{why: "the history ends without a replay", publish: fourth, log: subscribeA + "11:m1 15:history 31:m3 41:m4",
		want: "causeless gap 1, hole 1"},

	// How many must be recovered.
	{why: "too few are recovered", publish: fourth, log: backAtB + "28:joined 31:m3 41:m4",
		bounds: ResumeBounds{Enough: 1, Recovered: 0.5}, resumes: "0/0/0 0/1/0", want: "few recovered 1"},
	{why: "too many gaps without a loss", publish: "10 30 40", log: backAtA + "28:joined 31:m2 41:m3",
		bounds: ResumeBounds{Enough: 1, FalseGaps: 0.5}, resumes: "0/1/1 0/0/0", want: "false gaps 1"},
	{why: "all are recovered", publish: fourth, log: backAtA + "28:recovered 29:m2 31:m3 41:m4",
		bounds: ResumeBounds{Enough: 1, Recovered: 1}, resumes: "1/0/0 0/0/0"},
	{why: "too few resumes for a bound", publish: fourth, log: backAtB + "28:joined 31:m3 41:m4",
		bounds: ResumeBounds{Enough: 2, Recovered: 1}, resumes: "0/0/0 0/1/0"},
}

// streamCases are clients of durable channels.
var streamCases = []checkCase{
	{why: "stream, recovered", publish: fourth, log: backAtB + "28:recovered 29:m2 31:m3 41:m4", maxLen: -1,
		resumes: "0/0/0 1/0/0"},
	{why: "stream, recovered, one is missing", publish: fourth, log: backAtB + "28:recovered 31:m3 41:m4",
		maxLen: -1, resumes: "0/0/0 1/0/0", want: "hole 1"},
	{why: "stream, a fault without a loss", publish: "10 20 30 2000", faults: "15-25",
		log: subscribeA + "11:m1 16:offline 26:gap 27:m2 31:m3 2001:m4", maxLen: -1},
	{why: "stream, neither a fault nor a gap of live channels excuses a loss", publish: "10 20 30 2000",
		faults: "15-25", log: subscribeA + "11:m1 16:offline 26:gap 31:m3 2001:m4", want: "missing gap 1", maxLen: -1},
	{why: "stream, a gap although all entries are there", publish: fourth, log: backAtB + "28:joined 31:m3 41:m4",
		want: "causeless gap 1", maxLen: -1, resumes: "0/0/0 0/1/0"},
	{why: "stream, too few are recovered", publish: fourth,
		log:    away + "@b 32:opened 33:welcome 34:resume 35:joined 41:m4",
		bounds: ResumeBounds{Enough: 1, Recovered: 0.5}, maxLen: 2, resumes: "0/0/0 0/1/0", want: "few recovered 1"},
	{why: "stream, trimmed", publish: fourth, log: away + "@b 32:opened 33:welcome 34:resume 35:joined 41:m4",
		maxLen: 2, resumes: "0/0/0 0/1/0"},
	{why: "stream, not trimmed that far", publish: fourth,
		log: away + "@b 32:opened 33:welcome 34:resume 35:joined 41:m4", want: "causeless gap 1", maxLen: 3,
		resumes: "0/0/0 0/1/0"},
	{why: "stream, trimmed while the client reads", publish: fourth, log: subscribeA + "11:m1 35:gapa 41:m4", maxLen: 2},
	{why: "stream, a gap without a cause", publish: fourth, log: subscribeA + "11:m1 21:m2 25:gapa 31:m3 41:m4",
		want: "causeless gap 1", maxLen: 2},
}
