package resp

import (
	"math/rand/v2"
	"testing"
)

// FuzzSkipper checks that the result of skipping does not depend on how the
// stream is split.
func FuzzSkipper(f *testing.F) {
	f.Add([]byte("*2\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n$3\r\n\r\n\r\r\n+next\r\n"), uint64(1))
	f.Add([]byte("%1\r\n$-1\r\n~2\r\n#t\r\n=7\r\ntxt:abc\r\n"), uint64(2))
	f.Add([]byte("*1\r\n$5\r\nabcdefg\r\n"), uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		whole, wholeErr := skipPieces(stream, func() int { return len(stream) })
		pieces, piecesErr := skipPieces(stream, func() int { return 1 + r.IntN(1+r.IntN(100)) })
		if wholeErr != piecesErr || wholeErr == nil && whole != pieces {
			t.Fatalf("%q: %d bytes, %v; in pieces %d bytes, %v", stream, whole, wholeErr, pieces, piecesErr)
		}
	})
}

// skipPieces skips one reply that arrives in pieces, and returns its length, or
// the number of bytes skipped if the stream ends before the reply does.
func skipPieces(stream []byte, piece func() int) (skipped int, err error) {
	var s Skipper
	s.Start(1, MaxBulk)
	for end := 0; s.Active() && end < len(stream); {
		end = min(len(stream), end+piece())
		n, err := s.Skip(stream[skipped:end])
		skipped += n
		if err != nil {
			return skipped, err
		}
	}
	return skipped, nil
}
