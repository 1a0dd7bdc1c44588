// Package roster holds the members of a channel as one relay knows them: it
// applies the changes that the relays announce, and says what clients that watch
// the channel have to be sent.
package roster
