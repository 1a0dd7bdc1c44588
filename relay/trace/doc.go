// Package trace explains what happens to the messages of a channel: by its name
// and the settings, which [Settings.Explain] needs alone, and by the state of a
// relay and of Redis at the moment. It finds the mistakes because of which
// messages do not arrive: names that are almost right, settings that open a
// channel to no client, payloads that a failed encoder leaves.
//
// The commands `sidecast explain` and `sidecast trace`, and the endpoints of the
// admin listener that they call, use it.
package trace
