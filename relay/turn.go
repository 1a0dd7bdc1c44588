package relay

import (
	"slices"
	"sync"
)

// A session's commands, and what the application does to the session, run one
// after the other. The state of the session's turn is in Session.turn.
const (
	turnTaken   uint32 = 1 << iota // a command or an action runs
	turnBlocked                    // and waits for Redis or the application
	turnActions                    // actions wait in the hub until it has ended
	turnOver                       // the session has left: there are no more turns
)

// maxActions is how many actions of the application may wait for one session.
const maxActions = 64

// Actions are what the application does to sessions whose turn is taken.
type actions struct {
	mu      sync.Mutex // guards the map, and turnActions of each session in it
	done    sync.Cond  // an action has ended; its L is mu
	waiting map[*Session][]func()
}

// takeTurn waits while an action runs, which does not take long.
func (s *Session) takeTurn() {
	for {
		state := s.turn.Load()
		if state&turnTaken == 0 {
			if s.turn.CompareAndSwap(state, state|turnTaken) {
				return
			}
			continue
		}
		a := &s.hub.actions
		a.mu.Lock()
		for s.turn.Load()&turnTaken != 0 {
			a.done.Wait()
		}
		a.mu.Unlock()
	}
}

// endTurn runs the actions that have waited for the end of the turn, and ends
// it.
func (s *Session) endTurn() {
	for {
		state := s.turn.Load()
		if state&turnActions == 0 {
			if s.turn.CompareAndSwap(state, state&^turnTaken) {
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
	s.turn.And(^turnActions)
	return list
}

// leaveTurns ends a turn, which is the session's last one.
func (s *Session) leaveTurns() {
	a := &s.hub.actions
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, s)
	s.turn.Store(turnOver)
}

// act runs f in a turn of the session: at once, or by the goroutine that runs
// the session's command. It waits for no client. It reports false if the session
// has left, or if too many actions wait for it.
func (s *Session) act(f func()) bool {
	for {
		switch state := s.turn.Load(); {
		case state&turnOver != 0:
			return false
		case state&turnTaken != 0:
			if done, ok := s.hub.actions.add(s, state, f); done {
				return ok
			}
		case s.turn.CompareAndSwap(state, state|turnTaken):
			defer s.hub.actions.wake()
			defer s.endTurn()
			f()
			return true
		}
	}
}

// add lets f wait for the end of a session's turn. done is false if its state is
// another one meanwhile.
func (a *actions) add(s *Session, state uint32, f func()) (done, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting[s]) >= maxActions {
		return true, false
	}
	if !s.turn.CompareAndSwap(state, state|turnActions) {
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
