package blackbox

import (
	"testing"
	"testing/synctest"
	"time"
)

// The clock of the machine is set, or the machine sleeps, which the monotonic
// clock does not see: the times of later records follow, in whichever direction.
func TestClockIsSet(t *testing.T) {
	for comment, by := range map[string]time.Duration{
		"forward, or the machine has slept": 8 * time.Hour,
		"back":                              -time.Hour,
		"little, as the time service does":  300 * time.Millisecond,
	} {
		t.Run(comment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box, err := Open(MinBytes, "")
				if err != nil {
					t.Fatal(err)
				}
				box.base -= by.Milliseconds() // as if the clock had been set later
				for l := range box.lanes {
					box.nextSegment(&box.lanes[l])
				}
				box.CaughtUp(1)
				box.Refused(Refusal{Channel: "chat"})
				box.Census()
				box.CaughtUp(2)
				box.Refused(Refusal{Channel: "chat"})
				r := box.NewReader(time.Time{})
				var list []Record
				for record, ok := r.Next(); ok; record, ok = r.Next() {
					list = append(list, record)
				}
				if len(list) != 4 || r.Missed() {
					t.Fatalf("%+v", list)
				}
				late := 0
				for _, record := range list {
					if time.Since(record.At).Abs() > clockSlack {
						late++
					}
				}
				want := 2 // those before
				if by.Abs() < clockSlack {
					want = 0
				}
				if late != want {
					t.Errorf("%d have another time: %+v", late, list)
				}
			})
		})
	}
}
