package trace

import (
	"context"
	"fmt"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

// A Past summarizes the records of a relay about a channel.
type Past struct {
	Since   time.Time      `json:"since,omitzero"` // of the oldest record
	Last    time.Time      `json:"last,omitzero"`  // of the newest message
	Refused map[string]int `json:"refused,omitempty"`
	At      time.Time      `json:"refused_at,omitzero"` // of the newest refusal
}

// pastCheck is after how many records the context is looked at.
const pastCheck = 1 << 12

// ReadPast reads the records of a relay until ctx ends. It returns nil if the
// relay has no black box.
func ReadPast(ctx context.Context, box *blackbox.Box, channel string) *Past {
	if box == nil {
		return nil
	}
	past := &Past{Refused: make(map[string]int)}
	reader := box.NewReader(time.Time{})
	for n := 0; n%pastCheck != 0 || ctx.Err() == nil; n++ {
		r, ok := reader.Next()
		if !ok {
			break
		}
		if past.Since.IsZero() {
			past.Since = r.At
		}
		switch {
		case r.Channel != channel:
		case r.Kind == blackbox.KindMessage:
			past.Last = r.At
		case r.Kind == blackbox.KindRefused && r.Reason != protocol.CommandPublish.String():
			past.Refused[codeName(r.Code)]++
			past.At = r.At
		}
	}
	return past
}

// refusals says how often clients were refused the channel.
func (p *Past) refusals(now time.Time) (says []Sentence) {
	for _, code := range protocol.Codes() {
		n := p.Refused[code.String()]
		if n == 0 {
			continue
		}
		s := Sentence{Text: fmt.Sprintf("%s refused (%s) since %s, the last one %s", countAs(n, "subscribe was", "subscribes were"),
			code, p.Since.UTC().Format("15:04:05 MST"), ago(p.At, now)), Wrong: true}
		switch code {
		case protocol.CodeUnauthorized:
			s.Do = "the client has to log in: `sidecast check --channel NAME --cookie COOKIE` says who the user of a browser is"
		case protocol.CodeUnavailable:
			s.Do = "the application did not answer, or Redis was down: see the relay's log, and run `sidecast check`"
		default:
			s.Do = "`sidecast check --channel NAME --cookie COOKIE` says what opens a channel to a user, or why nothing does"
		}
		says = append(says, s)
	}
	return says
}
