package blackbox

import (
	"errors"
	"io"
)

// A snapshot is the content of a file, at some time. It may be anything.
type snapshot struct {
	lanes [numLanes][]segment
}

// readSnapshot reads a file that a box may be writing: segments that it begins
// while they are read are left out.
func readSnapshot(f io.ReaderAt) (*snapshot, error) {
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errNotABox
		}
		return nil, err
	}
	h, err := parseHeader(page)
	if err != nil {
		return nil, err
	}
	s := new(snapshot)
	for i := range int64(h.segments) {
		at := pageSize + i*int64(h.segment)
		data, again := segment(make([]byte, h.segment)), segment(make([]byte, segmentHeader))
		if _, err := f.ReadAt(data, at); err != nil {
			return nil, err
		}
		if _, err := f.ReadAt(again, at); err != nil {
			return nil, err
		}
		if data.number() != 0 && data.number() == again.number() && data.lane() < numLanes {
			s.lanes[data.lane()] = append(s.lanes[data.lane()], data)
		}
	}
	return s, nil
}

func (s *snapshot) list(l lane) []segmentID { return listSegments(nil, s.lanes[l]) }

func (s *snapshot) more(l lane, number uint64, from int, into []byte) (data []byte, exists bool) {
	for _, g := range s.lanes[l] {
		if g.number() == number {
			return g.more(number, from, into)
		}
	}
	return into, false
}
