package config

import (
	"cmp"
	"slices"
	"strings"
)

// A Fault is one problem with a setting. It never contains a secret.
type Fault struct {
	Name    string // of the variable, with the prefix
	Problem string // continues a sentence that begins with the setting's name
	Remedy  string // what to do about it; begins with a verb; may be empty
}

// Error returns the fault on one line.
func (f Fault) Error() string {
	if f.Remedy == "" {
		return f.Name + ": " + f.Problem
	}
	return f.Name + ": " + f.Problem + "; " + f.Remedy
}

// Faults are all faults as one error. The zero value is ready for Add. Faults
// must not be used concurrently.
type Faults []Fault

// Add appends a fault. The name is without the prefix, such as CHANNELS. The
// texts must not contain a secret or a line break.
func (f *Faults) Add(name, problem, remedy string) {
	*f = append(*f, Fault{Name: Prefix + name, Problem: problem, Remedy: remedy})
}

// Err returns the faults in the order of the settings, as an error that
// [errors.AsType] finds as Faults. It returns nil if there are no faults.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	position := make(map[string]int)
	for i, s := range settings() {
		position[s.variable()] = i
	}
	return Faults(slices.SortedStableFunc(slices.Values(f), func(a, b Fault) int {
		return cmp.Compare(position[a.Name], position[b.Name])
	}))
}

// Error returns one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each [Fault] for errors.Is and errors.As.
func (f Faults) Unwrap() []error {
	list := make([]error, len(f))
	for i := range f {
		list[i] = f[i]
	}
	return list
}
