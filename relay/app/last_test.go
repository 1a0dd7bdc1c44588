package app

import (
	"fmt"
	"testing"

	"sidecast/config"
	"sidecast/relay/protocol"
)

// The setting and clients have the same limit.
func TestMaxLast(t *testing.T) {
	var list config.LastList
	if err := list.Decode(fmt.Sprintf("a=%d", protocol.MaxLast)); err != nil {
		t.Error(err)
	}
	if err := list.Decode(fmt.Sprintf("a=%d", protocol.MaxLast+1)); err == nil {
		t.Error("the setting allows more than clients may ask for")
	}
}
