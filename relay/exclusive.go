package relay

import (
	"slices"
	"sync"
)

// A session's commands, and the application's actions on the session, exclude
// each other. These are the bits of Session.exclusive.
const (
	exclusiveTaken   uint32 = 1 << iota // a command or an action runs
	exclusiveBlocked                    // and waits for Redis or the application
	exclusiveActions                    // actions wait in the hub until it has ended
	exclusiveOver                       // the session has left: nothing runs any more
)

// maxActions is how many actions of the application may wait for one session.
const maxActions = 64

// Actions of the application wait here while a command of their session runs.
type actions struct {
	mu      sync.Mutex // guards the map, and exclusiveActions of each session in it
	done    sync.Cond  // an action has ended; its L is mu
	waiting map[*Session][]func()
}

// enterExclusive waits while an action runs, which does not take long.
func (s *Session) enterExclusive() {
	for {
		state := s.exclusive.Load()
		if state&exclusiveTaken == 0 {
			if s.exclusive.CompareAndSwap(state, state|exclusiveTaken) {
				return
			}
			continue
		}
		a := &s.hub.actions
		a.mu.Lock()
		for s.exclusive.Load()&exclusiveTaken != 0 {
			a.done.Wait()
		}
		a.mu.Unlock()
	}
}

// exitExclusive runs the actions that have waited for the end of the command.
func (s *Session) exitExclusive() {
	for {
		state := s.exclusive.Load()
		if state&exclusiveActions == 0 {
			if s.exclusive.CompareAndSwap(state, state&^exclusiveTaken) {
				return
			}
			continue
		}
		for _, f := range s.hub.actions.take(s) {
			f()
		}
	}
}

// take removes the actions that wait for a session.
func (a *actions) take(s *Session) []func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.waiting[s]
	delete(a.waiting, s)
	s.exclusive.And(^exclusiveActions)
	return list
}

// endExclusive is exitExclusive of a session that has left.
func (s *Session) endExclusive() {
	a := &s.hub.actions
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, s)
	s.exclusive.Store(exclusiveOver)
}

// act runs f while no command of the session runs: at once, or afterwards by
// the goroutine that runs the command. It waits for no client. It reports false
// if the session has left, or if too many actions wait for it.
func (s *Session) act(f func()) bool {
	for {
		switch state := s.exclusive.Load(); {
		case state&exclusiveOver != 0:
			return false
		case state&exclusiveTaken != 0:
			if done, ok := s.hub.actions.add(s, state, f); done {
				return ok
			}
		case s.exclusive.CompareAndSwap(state, state|exclusiveTaken):
			defer s.hub.actions.wake()
			defer s.exitExclusive()
			f()
			return true
		}
	}
}

// add lets f wait for the end of a session's command. done is false if the state
// is another one meanwhile.
func (a *actions) add(s *Session, state uint32, f func()) (done, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting[s]) >= maxActions {
		return true, false
	}
	if !s.exclusive.CompareAndSwap(state, state|exclusiveActions) {
		return false, false
	}
	if a.waiting == nil {
		a.waiting = make(map[*Session][]func())
	}
	a.waiting[s] = append(slices.Clip(a.waiting[s]), f)
	return true, true
}

// wake lets commands run that have waited for the end of an action.
func (a *actions) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done.Broadcast()
}
