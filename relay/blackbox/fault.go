package blackbox

import (
	"fmt"
	"runtime/debug"
)

// survive is deferred by what reads or writes the memory of a file: the kernel
// ends the process if that is not possible, because the file was truncated, its
// disk has no room or fails. From then on, the box records in memory. before is
// what [debug.SetPanicOnFault] has returned. The box is locked.
func (b *Box) survive(before bool) {
	problem := recover()
	debug.SetPanicOnFault(before)
	if problem == nil {
		return
	}
	if _, isFault := problem.(interface{ Addr() uintptr }); !isFault {
		panic(problem)
	}
	b.failed = fmt.Errorf("the file cannot be written or read any more: %v", problem)
	for l := range b.lanes {
		w := &b.lanes[l]
		for i := range w.ring {
			w.ring[i] = make(segment, w.size)
		}
		b.nextSegment(w)
	}
}

// Err returns why the file is not used any more, if it is not.
func (b *Box) Err() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}
