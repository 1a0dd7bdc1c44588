package history

import "fmt"

// compareSuffixes compares what Suffix finds with the kept messages, and checks
// that a client can resume from there.
func compareSuffixes(h *History[struct{}], ch *Channel[struct{}], kept []message) error {
	for k := range kept {
		if i := len(kept) - 1 - k; kept[i].empty {
			kept = kept[i+1:]
			break
		}
	}
	for _, n := range []int{1, 2, 7, 100} {
		p, last := h.Suffix(ch, n)
		located, ok := h.Locate(ch, p)
		if !ok || h.After(ch, located) != h.After(ch, last) || p.Ord < h.markers.firstOrd {
			return fmt.Errorf("Suffix(%d) = %+v, %d, from where a client cannot resume", n, p, last)
		}
		want, offset := kept[max(len(kept)-n, 0):], h.After(ch, last)
		for _, m := range want {
			if offset == 0 || h.Entry(offset).Point != m.point || !p.Before(m.point) {
				return fmt.Errorf("Suffix(%d) = %+v, %d, want the place before %+v", n, p, last, m.point)
			}
			offset = h.Next(offset, h.Entry(offset))
		}
		if offset != 0 {
			return fmt.Errorf("Suffix(%d) = %+v, %d, after which there are more messages than %d", n, p, last, len(want))
		}
	}
	return nil
}
