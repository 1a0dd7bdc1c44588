package console

import "iter"

// incidents are the newest incidents of the relay.
type incidents struct {
	source   func(after uint64) iter.Seq2[uint64, Incident] // nil: the relay records no incidents
	position uint64                                         // in the source
	kept     []Incident                                     // at most keptIncidents
	total    uint64                                         // how many there were, those that are not kept included
}

// read adds what has happened since the last call.
func (in *incidents) read() {
	if in.source == nil {
		return
	}
	for position, incident := range in.source(in.position) {
		in.position = position
		in.kept = append(in.kept, incident)
		in.total++
		if len(in.kept) >= 2*keptIncidents {
			in.trim()
		}
	}
	in.trim()
}

// trim forgets the oldest incidents.
func (in *incidents) trim() {
	if surplus := len(in.kept) - keptIncidents; surplus > 0 {
		in.kept = append(in.kept[:0], in.kept[surplus:]...)
	}
}

// after returns the kept incidents after the n-th one.
func (in *incidents) after(n uint64) []Incident {
	if n >= in.total {
		return nil
	}
	return in.kept[max(0, len(in.kept)-int(in.total-n)):]
}
