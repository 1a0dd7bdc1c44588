package stream

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// An ID is the id of an entry of a Redis stream. The zero ID is before all
// entries.
type ID struct{ Ms, Seq uint64 }

// ParseID parses an id as Redis writes it, for example 1526919030474-55.
func ParseID(text string) (id ID, ok bool) {
	ms, seq, ok := strings.Cut(text, "-")
	if !ok {
		return id, false
	}
	var err1, err2 error
	id.Ms, err1 = strconv.ParseUint(ms, 10, 64)
	id.Seq, err2 = strconv.ParseUint(seq, 10, 64)
	if err1 != nil || err2 != nil {
		return ID{}, false
	}
	return id, true
}

// String returns the id as Redis writes it.
func (id ID) String() string {
	b := strconv.AppendUint(make([]byte, 0, 24), id.Ms, 10)
	return string(strconv.AppendUint(append(b, '-'), id.Seq, 10))
}

// IsZero reports whether the id is the zero ID, which is before all entries.
func (id ID) IsZero() bool { return id == ID{} }

// Compare returns a negative number if id is before other, zero if both are
// equal, and a positive number if id is after other.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}

// Next returns the lowest id after id. It returns false if id is the highest
// possible one.
func (id ID) Next() (ID, bool) {
	switch {
	case id.Seq < math.MaxUint64:
		id.Seq++
	case id.Ms < math.MaxUint64:
		id = ID{Ms: id.Ms + 1}
	default:
		return id, false
	}
	return id, true
}
