package config

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Fault is one thing that is wrong with a setting. It never holds a secret.
type Fault struct {
	Name    string // of the variable, with the prefix
	Problem string // what is wrong
	Remedy  string // what to do, beginning with a verb; may be empty
}

// Error returns the fault on one line.
func (f Fault) Error() string {
	if f.Remedy == "" {
		return f.Name + ": " + f.Problem
	}
	return f.Name + ": " + f.Problem + "; " + f.Remedy
}

// Faults is everything that is wrong, as one error. The zero value is ready for Add. A Faults belongs to one goroutine.
type Faults []Fault

// Add appends a fault. The name is without the prefix: CHANNELS. The texts must hold no secret and no line break.
func (f *Faults) Add(name, problem, remedy string) {
	*f = append(*f, Fault{Name: Prefix + name, Problem: problem, Remedy: remedy})
}

// Err returns the faults in the order of the settings, as an error that [errors.AsType] finds as Faults; or nil if there
// are none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	place := make(map[string]int)
	for i, s := range settings() {
		place[s.variable()] = i
	}
	return Faults(slices.SortedStableFunc(slices.Values(f), func(a, b Fault) int {
		return cmp.Compare(place[a.Name], place[b.Name])
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

// A syntaxError is what the types of this package return for a value that they cannot take. It must not hold a secret.
type syntaxError struct{ problem, remedy string }

func (e *syntaxError) Error() string { return e.problem + "; " + e.remedy }

// maxEcho bounds how much of a value a fault repeats, in bytes.
const maxEcho = 60

// echo quotes a value that is no secret.
func echo(value string) string {
	if len(value) <= maxEcho {
		return `"` + value + `"`
	}
	end := maxEcho
	for end > 0 && !utf8.RuneStart(value[end]) {
		end--
	}
	return `"` + value[:end] + `..."`
}

// plain reports whether text is of ASCII letters, digits and the marks alone.
func plain(text, marks string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		letter := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		return !letter && !strings.ContainsRune(marks, r)
	})
}

// orList writes a list as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
