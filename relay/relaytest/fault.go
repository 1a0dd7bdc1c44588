package relaytest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Expect says how often a session may, or must, be told of a fault.
type Expect uint8

// The expectations.
const (
	Maybe Expect = iota // once at most
	Once                // exactly once
	Never
	Any // as often as it likes
)

// A Fault is something that a test did to the relay, its Redis or a network between them. It explains the gaps and
// losses of its time, and nothing else does.
type Fault struct {
	Name    string
	Channel string // the only channel that it touches; empty for all
	Relay   string // the only relay whose sessions it touches, by [Dialer] name; empty for all

	// From is just before it was done, To just after it was undone; zero while it is not. Settled is when the test
	// has seen that all is well again; zero leaves that to [Rules.Heal] after To.
	From, To, Settled time.Time

	// Gap and Offline say what each session of sidecast.v1 is told: every session that had joined a touched channel
	// before To and outlived the fault must hear of the gap, and every one that had its welcome before From must hear
	// offline. Sessions that come or go meanwhile may.
	Gap, Offline Expect
	// Ends lets connections end.
	Ends bool
	// Resets takes entries of streams away, or the streams.
	Resets bool
}

// A FaultLog is what was done in a run. All methods may be called concurrently; the zero value is ready.
type FaultLog struct {
	mu     sync.Mutex
	faults []*Fault
}

// An Injected is a fault that is being done. Its methods may be called concurrently.
type Injected struct {
	log   *FaultLog
	fault *Fault
}

// Begin notes the fault and the time. Call it just before doing harm.
func (l *FaultLog) Begin(f Fault) *Injected {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.From = time.Now()
	l.faults = append(l.faults, &f)
	return &Injected{log: l, fault: &f}
}

// Undone notes the time. Call it just after the harm was undone.
func (i *Injected) Undone() {
	i.log.mu.Lock()
	defer i.log.mu.Unlock()
	i.fault.To = time.Now()
}

// Settled notes that the test has seen all clients told, or whatever else shows that the relay is well: from now on
// nothing excuses a loss. It implies Undone.
func (i *Injected) Settled() {
	i.log.mu.Lock()
	defer i.log.mu.Unlock()
	i.fault.Settled = time.Now()
	if i.fault.To.IsZero() {
		i.fault.To = i.fault.Settled
	}
}

// settle notes that all is well: what was undone lately explains nothing from now on.
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

// healTime is how long after a fault a relay may take to be well again.
const healTime = 12 * time.Second

// Faults returns what was done so far, for [Run].
func (l *FaultLog) Faults() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	faults := make([]Fault, len(l.faults))
	for i, f := range l.faults {
		faults[i] = *f
	}
	return faults
}

// window is the time that one or more faults explain, without a break.
type window struct {
	channel  string
	relay    string
	from, to time.Time // to is zero for a fault that was never undone
	faults   []Fault
}

// windows merges faults that one could not tell apart by their consequences: same channel and relay, and the next began before the
// last had healed. They are sorted by their beginning.
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

// after reports whether t is later than end, where a zero end is never reached.
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

// explains reports whether a message was under way in the window.
func (w window) explains(p Publication, lag time.Duration) bool {
	return !after(p.Before, w.to) && p.After.Add(lag).After(w.from)
}

// touches reports whether the window has to do with channel; the empty channel stands for all.
func (w window) touches(channel string) bool { return w.channel == "" || w.channel == channel }

// concerns reports whether the window has to do with a relay; the empty name stands for all.
func (w window) concerns(relay string) bool { return w.relay == "" || relay == "" || w.relay == relay }

// name lists the faults.
func (w window) name() string {
	names := make([]string, len(w.faults))
	for i, f := range w.faults {
		names[i] = strconv.Quote(f.Name)
	}
	return strings.Join(names, " and ")
}

// undone is when the last of the faults was undone; zero while one is not.
func (w window) undone() time.Time {
	last := w.from
	for _, f := range w.faults {
		last = laterOf(last, f.To)
	}
	return last
}

// expect sums up what sessions are told of the faults: at least and at most this often, -1 for no bound.
func (w window) expect(of func(Fault) Expect) (least, most int) {
	for _, f := range w.faults {
		switch of(f) {
		case Once:
			least = 1 // two faults at a time may be told as one
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
