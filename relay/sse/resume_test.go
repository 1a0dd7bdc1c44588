package sse

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// Each channel gets the place that the last id names for it, however many
// places the id names, and with little work: the id is as long as the client
// wants.
func TestPositionsOfLongID(t *testing.T) {
	s := &stream{handler: &Handler{cfg: Config{Access: &access.Rules{Names: access.NewNames("", "")}}}}
	var id []byte
	for i := range 128 {
		name := "channel:" + strconv.Itoa(i)
		s.channels = append(s.channels, name)
		if i != 0 {
			id = protocol.AppendEventID(id, []byte("c"+strconv.Itoa(i)), name)
		}
	}
	id = protocol.AppendEventID(id, []byte("x"), "channel:1")
	s.query.lastID = string(id) + strings.Repeat(",x~"+protocol.ChannelTag("another"), 1000)
	var got []string
	for _, r := range s.requests() {
		got = append(got, r.After)
	}
	if want := []string{unknownPlace, unknownPlace, "c2", "c3"}; !slices.Equal(got[:4], want) || got[127] != "c127" {
		t.Errorf("the channels resume after %v", got)
	}
	if n := testing.AllocsPerRun(10, func() { s.requests() }); n > 500 {
		t.Errorf("%v allocations for one request", n)
	}
}
