package pagecache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A setup is a cache with an index of pages, and the same pages as a list, the
// one used last first.
type setup struct {
	*Cache
	clock int64
	index map[int]*Page
	want  []page
}

type page struct {
	id, bytes int
	usedAt    int64
}

func newSetup(limit int) *setup {
	s := &setup{index: make(map[int]*Page)}
	s.Cache = New(limit, 100, func() int64 { return s.clock })
	return s
}

func (s *setup) add(id, bytes int) {
	p := new(Page)
	s.index[id] = p
	s.Add(p, bytes, func() { delete(s.index, id) })
	s.want = append([]page{{id, bytes, s.clock}}, s.want...)
	s.trim()
}

func (s *setup) use(i int) {
	p := s.want[i]
	s.Use(s.index[p.id])
	p.usedAt = s.clock
	s.want = append([]page{p}, slices.Delete(s.want, i, i+1)...)
}

// trim drops what exceeds the limit, but not the first page.
func (s *setup) trim() {
	for len(s.want) > 1 && s.total() > s.limit {
		s.want = s.want[:len(s.want)-1]
	}
}

func (s *setup) total() (n int) {
	for _, p := range s.want {
		n += p.bytes
	}
	return n
}

func (s *setup) check() error {
	if bytes, _, _ := s.Stats(); int(bytes) != s.total() || len(s.index) != len(s.want) {
		return fmt.Errorf("%d pages with %d bytes, want %d with %d", len(s.index), bytes, len(s.want), s.total())
	}
	for _, p := range s.want {
		if s.index[p.id] == nil {
			return fmt.Errorf("page %d is dropped", p.id)
		}
	}
	return nil
}

// TestCacheModel compares random operations with a list.
func TestCacheModel(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSetup(1000)
	for step := range 20_000 {
		s.clock += int64(random.IntN(4))
		switch op := random.IntN(10); {
		case op < 5:
			s.add(step, 1+random.IntN(1+random.IntN(1500)))
		case op < 8 && len(s.want) > 0:
			s.use(random.IntN(len(s.want)))
		case op == 8 && len(s.want) > 0:
			s.use(random.IntN(len(s.want))) // a page is resized when it is used
			s.want[0].bytes = random.IntN(600)
			s.Resize(s.index[s.want[0].id], s.want[0].bytes)
			s.trim()
		case op == 9 && random.IntN(10) == 0:
			s.Expire()
			s.want = slices.DeleteFunc(s.want, func(p page) bool { return p.usedAt <= s.clock-s.maxAge })
		case op == 9 && len(s.want) > 0:
			i := random.IntN(len(s.want))
			p := s.index[s.want[i].id]
			s.Remove(p)
			s.Remove(p) // a second time does nothing
			s.want = slices.Delete(s.want, i, i+1)
		}
		if err := s.check(); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
	}
}

// A page that grows is used: others are dropped for it, however long it was not
// used before.
func TestResizeOfAnOldPage(t *testing.T) {
	s := newSetup(1000)
	s.add(1, 10)
	s.add(2, 900)
	s.Resize(s.index[1], 600)
	if bytes, _, _ := s.Stats(); bytes != 600 || s.index[2] != nil {
		t.Errorf("%d bytes are in a cache of 1000", bytes)
	}
}
