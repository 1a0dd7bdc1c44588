// Package rostertest provides members of channels for tests.
package rostertest

import (
	"context"

	"sidecast/relay/roster"
)

// Empty is a source of members for a hub that knows no members.
type Empty struct{}

// Enter ignores a member.
func (Empty) Enter(string, string, []byte) {}

// Exit ignores a member.
func (Empty) Exit(string, string) {}

// Watch returns a roster without members.
func (Empty) Watch(context.Context, string) (*roster.Roster, error) {
	members := roster.New(0, nil)
	members.Load(0, 0, nil)
	return members, nil
}

// Unwatch does nothing.
func (Empty) Unwatch(string) {}
