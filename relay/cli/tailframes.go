package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"sidecast/relay/protocol"
)

// tailFrame is the part of the relay's frames that a tailer uses.
type tailFrame struct {
	Type, Channel, Cursor, Data, Base64, Reason, Code, Message, At string

	Ref                         json.RawMessage
	Recovered, Durable, Offline bool
	Heartbeat                   float64 // seconds
}

// receive handles one frame of the relay. The time that the output takes does
// not count as silence of the relay.
func (t *tailer) receive(message []byte) {
	t.dead.Stop()
	var f tailFrame
	if err := json.Unmarshal(message, &f); err != nil {
		t.printer.warn("the relay sent a frame that is not sidecast.v1")
	} else {
		t.handle(&f)
	}
	if t.printer.failed != nil {
		t.fail(t.printer.failed)
		return
	}
	t.heard = time.Now()
	t.dead.Reset(t.silent)
}

func (t *tailer) handle(f *tailFrame) {
	c := t.channel(f.Channel, f.Type == "subscribed" && f.Ref == nil)
	switch {
	case f.Type == "welcome":
		t.welcomed(f)
	case f.Type == "heartbeat":
		t.passed(f.At)
	case f.Type == "offline":
		t.printer.warn("the relay has lost its connection to Redis: no messages arrive until it is back")
		t.printer.print(tailLine{Type: f.Type, Reason: f.Reason}, nil)
	case f.Type == "error":
		t.refused(c, f)
	case f.Type == "gap" && f.Channel == "":
		t.gap("all live channels", f)
	case c == nil: // another subscription, or a type that this version does not know
	case f.Type == "subscribed":
		t.joined(c, f)
	case f.Type == "unsubscribed":
		t.ended(c, f)
	case c.state != tailOn: // before the answer, these belong to a subscription that the relay made
	case f.Type == "message":
		c.move(f.Cursor)
		t.message(f)
	case f.Type == "gap":
		c.move(f.Cursor)
		t.gap(c.name, f)
	}
}

// welcomed begins a connection that the relay has accepted.
func (t *tailer) welcomed(f *tailFrame) {
	if f.Heartbeat >= 1 && f.Heartbeat < 3600 {
		t.silent = time.Duration(1.75 * f.Heartbeat * float64(time.Second))
	}
	if f.Offline {
		t.printer.warn("the relay has no connection to Redis: no messages arrive until it is back")
		t.printer.print(tailLine{Type: "offline"}, nil)
	}
	t.requestAll()
}

// passed stores the position of a heartbeat, which is one in all live channels.
func (t *tailer) passed(at string) {
	for _, c := range t.channels {
		if at != "" && c.state == tailOn {
			c.at = at
		}
	}
}

// joined handles a subscription, which the tailer has requested or the relay has
// made.
func (t *tailer) joined(c *tailChannel, f *tailFrame) {
	if f.Ref == nil && c.state != tailOn {
		c.own = true
		if c.after != "" { // to resume, the tailer has to request it
			if c.state != tailLeaving {
				t.leave(c)
			}
			return
		}
	}
	resumed, again := c.after != "", c.state == tailOn
	c.move(f.Cursor)
	c.state = tailOn
	t.subscribed, t.unauthorized, t.backoff = true, false, shortestBackoff
	if again {
		return
	}
	line := tailLine{Type: f.Type, Channel: c.name, Cursor: f.Cursor, Durable: f.Durable}
	switch {
	case !resumed:
		t.printer.note("listening to %s", c.name)
	case f.Recovered:
		t.printer.note("listening to %s again, from where it stopped", c.name)
	default:
		t.printer.note("listening to %s again", c.name)
	}
	if resumed {
		line.Recovered = &f.Recovered
	}
	t.printer.print(line, nil)
	if resumed && !f.Recovered && !f.Durable { // of a durable channel, the relay sends the gap
		t.gap(c.name, &tailFrame{Channel: c.name, Reason: "unrecovered"})
	}
}

// ended handles the end of a subscription.
func (t *tailer) ended(c *tailChannel, f *tailFrame) {
	if c.state == tailLeaving {
		t.request(c)
		return
	}
	c.state = tailOff
	t.printer.warn("the relay has ended the subscription to %s (%s)", c.name, f.Reason)
	t.printer.print(tailLine{Type: f.Type, Channel: c.name, Reason: f.Reason}, nil)
	for _, c := range t.channels {
		if c.state != tailOff {
			return
		}
	}
	t.fail(fmt.Errorf("the relay has ended all subscriptions (%s)", f.Reason))
}

// refused handles an error of the relay. c is nil if it is not about one of the
// tailer's channels.
func (t *tailer) refused(c *tailChannel, f *tailFrame) {
	switch {
	case f.Code == protocol.CodeUnavailable.String(), f.Code == protocol.CodeRateLimited.String():
		t.printer.warn("%s: %s (%s)", f.Channel, f.Message, f.Code)
		t.retry = true // over another connection
		t.client.Close()
	case c != nil && c.state == tailLeaving && f.Code == protocol.CodeNotSubscribed.String():
		t.request(c)
	case c != nil && c.state == tailAsked && !c.own && f.Code == protocol.CodeBadRequest.String():
		t.leave(c) // the relay may have subscribed the client already
	case c != nil && !c.named:
		c.state = tailOff
		t.printer.warn("no longer listening to %s: %s (%s)", c.name, f.Message, f.Code)
	default:
		advice := t.advice(f.Code == protocol.CodeUnauthorized.String())
		if f.Code == protocol.CodeForbidden.String() {
			advice = "; `sidecast explain CHANNEL` says to which clients it is open"
		}
		t.fail(fmt.Errorf("%q: %s (%s)%s", f.Channel, refusalFor(f), f.Code, advice))
	}
}

// refusalFor returns why the relay refuses a channel, without the advice for
// pages.
func refusalFor(f *tailFrame) string {
	if f.Message == protocol.ReasonNoAuth.String() {
		return "a page opens this private channel with what the application signs for it; " +
			"tail needs a token that grants the channel, and `redis-cli subscribe` shows what is published"
	}
	return f.Message
}

// gap reports that messages may be missing. where names their channels, in words.
func (t *tailer) gap(where string, f *tailFrame) {
	t.printer.warn("gap (%s): messages of %s may be missing here", f.Reason, where)
	t.printer.print(tailLine{Type: "gap", Channel: f.Channel, Cursor: f.Cursor, Reason: f.Reason}, nil)
}

// message prints a message that the filters select.
func (t *tailer) message(f *tailFrame) {
	payload := []byte(f.Data)
	line := tailLine{Type: f.Type, Channel: f.Channel, Cursor: f.Cursor, Data: &f.Data}
	if raw, err := base64.StdEncoding.DecodeString(f.Base64); err == nil && f.Base64 != "" {
		payload, line.Data, line.Base64 = raw, nil, f.Base64
	}
	if t.filters.match(payload) {
		t.printer.print(line, payload)
	}
}
