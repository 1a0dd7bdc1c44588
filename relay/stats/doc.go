// Package stats counts what the relay does.
//
// [Stats] has a field for each metric. All parts of the relay add to the same
// Stats, and package admin exports them for Prometheus. A metric with a label
// is an array, indexed by a type such as [DropReason]; the label values are in
// an array next to that type, such as [DropReasons].
//
// Everything in this package may be used concurrently. Counting never waits and
// takes no lock. Each value is exact, but values that are read one after the
// other need not be from the same moment.
package stats
