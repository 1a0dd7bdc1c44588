package relaytest

import "fmt"

// Resumes counts the subscriptions that clients resumed with a cursor, by the
// relay's answer.
type Resumes struct {
	Recovered int
	Gaps      int // recovered:false, or a gap during the replay
	FalseGaps int // gaps although no message was missing
}

// All returns the number of resumes.
func (r Resumes) All() int { return r.Recovered + r.Gaps }

func (r Resumes) plus(o Resumes) Resumes {
	return Resumes{r.Recovered + o.Recovered, r.Gaps + o.Gaps, r.FalseGaps + o.FalseGaps}
}

// String returns the counts in a few words.
func (r Resumes) String() string {
	return fmt.Sprintf("%d of %d recovered, %d false gaps", r.Recovered, r.All(), r.FalseGaps)
}

// A Return has the resumes at the relay that had sent the cursor, and those at
// another relay.
type ResumesByRelay struct{ Same, Crossed Resumes }

func (r ResumesByRelay) plus(o ResumesByRelay) ResumesByRelay {
	return ResumesByRelay{r.Same.plus(o.Same), r.Crossed.plus(o.Crossed)}
}

// ResumeBounds bound how often a relay may answer a resume with a gap. Without
// them, a relay that always does so breaks no rule.
type ResumeBounds struct {
	Enough    int     // fewer resumes of a kind are not checked; 0 disables the check
	Recovered float64 // minimum share of resumes that are recovered
	FalseGaps float64 // maximum share of resumes with a gap although no message was missing
}

// resumesOf is one kind of resumes in a report.
type resumesOf struct {
	kind string
	Resumes
}

func (r Report) resumes() []resumesOf {
	return []resumesOf{
		{"live", r.Live.Same}, {"live, another relay", r.Live.Crossed},
		{"durable", r.Durable.Same}, {"durable, another relay", r.Durable.Crossed},
	}
}

// checkResumeBounds checks each kind of channel, on the same relay and on
// another.
func (c *checker) checkResumeBounds() { c.report.checkResumes(c.run.Rules.Resumes) }

func (r *Report) checkResumes(bounds ResumeBounds) {
	for _, n := range r.resumes() {
		all := float64(n.All())
		if bounds.Enough == 0 || n.All() < bounds.Enough {
			continue
		}
		if float64(n.Recovered) < bounds.Recovered*all {
			r.add(Violation{Rule: FewRecovered, Text: fmt.Sprintf("%s: %v", n.kind, n.Resumes)})
		}
		if float64(n.FalseGaps) > bounds.FalseGaps*all {
			r.add(Violation{Rule: FalseGaps, Text: fmt.Sprintf("%s: %v", n.kind, n.Resumes)})
		}
	}
}

// resumes returns the counts of the track's kind of channel.
func (t *track) resumes(crossed bool) *Resumes {
	r := &t.client.report.Live
	if t.client.durable(t.name) {
		r = &t.client.report.Durable
	}
	if crossed {
		return &r.Crossed
	}
	return &r.Same
}
