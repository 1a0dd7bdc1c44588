package relaytest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Expect is how often a session may or must receive a notice of a fault.
type Expect uint8

// The expectations.
const (
	Maybe Expect = iota // at most once
	Once                // exactly once
	Never
	Any // any number
)

// A Fault is something that a test did to the relay, its Redis or the network.
// Only faults explain gaps and losses.
type Fault struct {
	Name    string
	Channel string // the only channel that it affects; empty for all
	Relay   string // the only relay whose sessions it affects, by its name in [Dialer]; empty for all

	// From is just before the fault began, To just after it was undone, zero
	// before. Settled is when the test observed that the relay had recovered;
	// if it is zero, the checker assumes [Rules.Heal] after To.
	From, To, Settled time.Time

	// Gap and Offline say how often each session of sidecast.v1 receives gap
	// and offline. A session must receive the gap if it was subscribed to an
	// affected channel before To and outlived the fault, and the offline if its
	// welcome arrived before From. Sessions that begin or end during the fault
	// may receive them.
	Gap, Offline Expect
	// Ends allows connections to end.
	Ends bool
}

// A FaultLog has the faults of a run. All methods may be called concurrently.
// The zero value is ready to use.
type FaultLog struct {
	mu     sync.Mutex
	faults []*Fault
}

// An Injected is a fault that has begun. Its methods may be called
// concurrently.
type Injected struct {
	log   *FaultLog
	fault *Fault
}

// Begin logs the fault with the time. Call it just before the fault.
func (l *FaultLog) Begin(f Fault) *Injected {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.From = time.Now()
	l.faults = append(l.faults, &f)
	return &Injected{log: l, fault: &f}
}

// Undone logs the time. Call it just after the fault was undone.
func (i *Injected) Undone() {
	i.log.mu.Lock()
	defer i.log.mu.Unlock()
	i.fault.To = time.Now()
}

// Settled logs that the relay has recovered, because all clients have received
// the gap or for another reason: the fault does not excuse later losses. It
// implies Undone.
func (i *Injected) Settled() {
	i.log.mu.Lock()
	defer i.log.mu.Unlock()
	i.fault.Settled = time.Now()
	if i.fault.To.IsZero() {
		i.fault.To = i.fault.Settled
	}
}

// settle marks the faults that were undone lately as settled: they do not
// excuse later losses.
func (l *FaultLog) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, f := range l.faults {
		if f.Settled.IsZero() && !f.To.IsZero() && now.Sub(f.To) < healTime {
			f.Settled = now
		}
	}
}

// healTime is the default of [Rules.Heal].
const healTime = 12 * time.Second

// Faults returns the faults so far, for [Run].
func (l *FaultLog) Faults() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	faults := make([]Fault, len(l.faults))
	for i, f := range l.faults {
		faults[i] = *f
	}
	return faults
}

// A window is the time of one fault, or of several that overlap.
type window struct {
	channel  string
	relay    string
	from, to time.Time // to is zero for a fault that was never undone
	faults   []Fault
}

// windows merges faults whose consequences cannot be distinguished: they have
// the same channel and relay, and the second began before the first had healed.
// The windows of one channel and relay are sorted by time.
func windows(faults []Fault, heal time.Duration) []window {
	faults = slices.Clone(faults)
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Relay, b.Relay), a.From.Compare(b.From))
	})
	var list []window
	for _, f := range faults {
		to := f.Settled
		if to.IsZero() && !f.To.IsZero() {
			to = f.To.Add(heal)
		}
		n := len(list) - 1
		if n >= 0 && list[n].channel == f.Channel && list[n].relay == f.Relay && !after(f.From, list[n].to) {
			list[n].to = laterOf(list[n].to, to)
			list[n].faults = append(list[n].faults, f)
			continue
		}
		list = append(list, window{channel: f.Channel, relay: f.Relay, from: f.From, to: to, faults: []Fault{f}})
	}
	return list
}

// after reports whether t is later than end. It is not if end is zero, which
// stands for no end.
func after(t, end time.Time) bool { return !end.IsZero() && t.After(end) }

func laterOf(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if b.After(a) {
		return b
	}
	return a
}

// holds reports whether t lies in the window.
func (w window) holds(t time.Time) bool { return !t.Before(w.from) && !after(t, w.to) }

// explains reports whether a message was under way during the window.
func (w window) explains(p Publication, lag time.Duration) bool {
	return !after(p.Before, w.to) && p.After.Add(lag).After(w.from)
}

// touches reports whether the window affects the channel. A window without a
// channel affects all.
func (w window) touches(channel string) bool { return w.channel == "" || w.channel == channel }

// concerns reports whether the window affects the relay. A window without a
// relay affects all, and the empty name stands for any relay.
func (w window) concerns(relay string) bool { return w.relay == "" || relay == "" || w.relay == relay }

// name returns the names of the faults.
func (w window) name() string {
	names := make([]string, len(w.faults))
	for i, f := range w.faults {
		names[i] = strconv.Quote(f.Name)
	}
	return strings.Join(names, " and ")
}

// undone returns when the last of the faults was undone, zero if one was not.
func (w window) undone() time.Time {
	last := w.from
	for _, f := range w.faults {
		last = laterOf(last, f.To)
	}
	return last
}

// expect returns how often sessions must and may receive a notice of the
// faults; most is -1 if it is not bounded.
func (w window) expect(of func(Fault) Expect) (least, most int) {
	for _, f := range w.faults {
		switch of(f) {
		case Once:
			least = 1 // two overlapping faults may cause one notice
			most = addBound(most, 1)
		case Maybe:
			most = addBound(most, 1)
		case Any:
			most = -1
		}
	}
	return least, most
}

func addBound(bound, n int) int {
	if bound < 0 {
		return bound
	}
	return bound + n
}
