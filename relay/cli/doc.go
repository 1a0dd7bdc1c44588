// Package cli is the command line: one table of commands, from which dispatch,
// usage errors and help are made. The commands write for people and return
// errors that say what to do next.
package cli
