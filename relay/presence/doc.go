// Package presence knows who is present on the channels of
// SIDECAST_PRESENCE_CHANNELS, over all relays. The members are in Redis, where
// the application reads them; see the README.
package presence
