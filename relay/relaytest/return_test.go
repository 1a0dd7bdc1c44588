package relaytest

import (
	"fmt"
	"strings"
	"testing"
)

// A journey is a [scene] of somebody who comes back, with what becomes of the count of resumes. A session that begins with
// @b is on relay b, a fault with at-b touches that one only, and a positive maxLen, or -1, makes the channel a stream.
type journey struct {
	scene
	maxLen  int
	resumes string // recovered/gaps/false on the same relay, then on another; empty where there is none
}

const (
	home   = "@a 0:opened 1:welcome 2:ask 3:joined "
	gone   = "15:aborted 15:end / "
	back   = "@a 25:opened 26:welcome 27:resume "
	across = "@b 25:opened 26:welcome 27:resume "
)

var journeys = []journey{
	{scene: scene{why: "recovered", publish: fourth, log: home + "11:m1 " + gone + back + "28:recovered 29:m2 31:m3 41:m4"}, resumes: "1/0/0 0/0/0"},
	{scene: scene{why: "recovered on another relay", publish: fourth, log: home + "11:m1 " + gone + across + "28:recovered 29:m2 31:m3 41:m4"},
		resumes: "0/0/0 1/0/0"},
	{scene: scene{why: "recovered on another relay, with a repeat", publish: fourth,
		log: home + "11:m1 " + gone + across + "28:recovered 28:m1 29:m2 31:m3 41:m4", want: "duplicate 1"}, resumes: "0/0/0 1/0/0"},
	{scene: scene{why: "a gap, but something from before", publish: fourth,
		log: home + "11:m1 21:m2 22:aborted 22:end / " + across + "28:joined 29:m2 31:m3 41:m4", want: "duplicate 1"}, resumes: "0/0/0 0/1/1"},
	{scene: scene{why: "a gap that cost something", publish: fourth, log: home + "11:m1 " + gone + across + "28:joined 31:m3 41:m4"},
		resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "a gap that was sent before what is missing, and heard behind it", publish: fourth,
		log: home + "11:m1 15:aborted 15:end / @b 16:opened 17:welcome 18:resume 28<19:joined 31:m3 41:m4", want: "hole 1"},
		resumes: "0/0/0 0/1/1"},
	{scene: scene{why: "a gap that cost nothing", publish: "10 30 40", log: home + "11:m1 " + gone + across + "28:joined 31:m2 41:m3"},
		resumes: "0/0/0 0/1/1"},
	{scene: scene{why: "a gap, and what came after it is missing", publish: fourth, log: home + "11:m1 " + gone + across + "28:joined 41:m4",
		want: "hole 1"}, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "a gap does not explain what was lost long before", publish: "10 20 500 510",
		log:  home + "11:m1 300:aborted 301:end / @b 400:opened 401:welcome 402:resume 403:joined 501:m3 511:m4",
		want: "hole 1"}, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "but what was not replayed yet", publish: "10 20 30 500 510",
		log: home + "11:m1 15:aborted 15:end / @b 100:opened 101:welcome 102:resume 103:recovered 104:m2 300:aborted 301:end / " +
			"@a 400:opened 401:welcome 402:resume 403:joined 501:m4 511:m5"}, resumes: "0/0/0 1/1/0"},
	{scene: scene{why: "and what a fault explains during which it left", publish: "10 20 500 2000", faults: "15-410 at-a ends",
		log: home + "11:m1 300:aborted 301:end / @b 400:opened 401:welcome 402:resume 403:joined 501:m3 2001:m4"}, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "a gap of the history, in a replay", publish: "10 20 30 40 50",
		log: home + "11:m1 " + gone + "@b 32:opened 32:welcome 32:resume 33:recovered 34:m2 35:history 41:m4 51:m5"}, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "a gap of the history, in a replay of somebody who leaves the channel later", publish: "10 20 30 40 50",
		log: home + "11:m1 " + gone + "@b 32:opened 32:welcome 32:resume 33:recovered 34:m2 35:history 41:m4 45:left 48:ask 49:joined 51:m5"},
		resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "a gap of the history without a replay", publish: fourth, log: home + "11:m1 15:history 31:m3 41:m4",
		want: "causeless gap 1, hole 1"}},
	{scene: scene{why: "another relay's fault explains no gap", publish: "10 20 30 2000", faults: "15-25 at-b", log: home + "11:m1 26:gap 31:m3 2001:m4",
		want: "causeless gap 1, missing gap 1"}},
	{scene: scene{why: "the relay's own does", publish: "10 20 30 2000", faults: "15-25 at-a", log: home + "11:m1 26:gap 31:m3 2001:m4"}},
	{scene: scene{why: "cut before the answer", publish: fourth,
		log: home + "11:m1 " + gone + "@b 16:opened 17:welcome 18:resume 19:aborted 19:end / " + across + "28:recovered 29:m2 31:m3 41:m4"},
		resumes: "0/0/0 1/0/0"},

	// Streams.
	{scene: scene{why: "stream, recovered", publish: fourth, log: home + "11:m1 " + gone + across + "28:recovered 29:m2 31:m3 41:m4"},
		maxLen: -1, resumes: "0/0/0 1/0/0"},
	{scene: scene{why: "stream, Redis was away and nothing is missing", publish: "10 20 30 2000", faults: "15-25",
		log: home + "11:m1 16:offline 26:gap 27:m2 31:m3 2001:m4"}, maxLen: -1},
	{scene: scene{why: "stream, no fault and no gap of live channels excuses a loss", publish: "10 20 30 2000", faults: "15-25",
		log: home + "11:m1 16:offline 26:gap 31:m3 2001:m4", want: "missing gap 1"}, maxLen: -1},
	{scene: scene{why: "stream, a gap although it is all there", publish: fourth, log: home + "11:m1 " + gone + across + "28:joined 31:m3 41:m4",
		want: "causeless gap 1"}, maxLen: -1, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "stream, trimmed", publish: fourth, log: home + "11:m1 " + gone + "@b 32:opened 33:welcome 34:resume 35:joined 41:m4"},
		maxLen: 2, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "stream, not trimmed as far", publish: fourth,
		log: home + "11:m1 " + gone + "@b 32:opened 33:welcome 34:resume 35:joined 41:m4", want: "causeless gap 1"}, maxLen: 3, resumes: "0/0/0 0/1/0"},
	{scene: scene{why: "stream, trimmed under a reader", publish: fourth, log: home + "11:m1 35:gapa 41:m4"}, maxLen: 2},
	{scene: scene{why: "stream, a gap without a cause", publish: fourth, log: home + "11:m1 21:m2 25:gapa 31:m3 41:m4",
		want: "causeless gap 1"}, maxLen: 2},
	{scene: scene{why: "stream, made again by a fault", publish: "10 20 30 2000", faults: "15-25 resets", log: home + "11:m1 26:gapa 31:m3 2001:m4"},
		maxLen: -1},
}

func TestReturn(t *testing.T) {
	for _, j := range journeys {
		t.Run(j.why, func(t *testing.T) {
			logs := strings.Split(j.log, "/")
			relays := make([]string, len(logs))
			for i, log := range logs {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(log), "@"); ok {
					relays[i], logs[i], _ = strings.Cut(rest, " ")
				}
			}
			j.log = strings.Join(logs, "/")
			run := j.run(false)
			for i := range run.Sessions {
				run.Sessions[i].Relay = relays[i]
			}
			if j.maxLen != 0 {
				run.Durable = map[string]int{"a": max(j.maxLen, 0)}
			}
			r := Check(run)
			if got := counts(r); got != j.want {
				t.Errorf("got  %s\nwant %s\n%s", got, j.want, r)
			}
			kind, other := r.Live, r.Durable
			if j.maxLen != 0 {
				kind, other = other, kind
			}
			short := func(n Resumes) string { return fmt.Sprintf("%d/%d/%d", n.Recovered, n.Gaps, n.False) }
			want := j.resumes
			if want == "" {
				want = "0/0/0 0/0/0"
			}
			if got := short(kind.Same) + " " + short(kind.Crossed); got != want || other != (Return{}) {
				t.Errorf("resumes %s, want %s; of the other kind %v", got, want, other)
			}
		})
	}
}
