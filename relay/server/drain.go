package server

import (
	"context"
	"time"

	"sidecast/relay/protocol"
)

// drain says good-bye. Load balancers need the delay to see that the relay is not ready; without clients, nobody does.
func (s *Server) drain(hurry bool) {
	delay, over, grace := s.cfg.DrainDelay, s.cfg.DrainTimeout, drainGrace
	if hurry {
		delay, over, grace = 0, 0, time.Second/2 // and a second for each client to hang up: a person waits
	}
	s.cfg.Stats.Draining.Store(true)
	s.cfg.Logger.Info("draining", "clients", s.cfg.Hub.Sessions(), "delay", delay, "over", over)
	s.delay(delay)
	ctx, cancel := context.WithTimeout(context.Background(), over+grace)
	defer cancel()
	s.cfg.Hub.Drain(ctx, over, protocol.CloseRestart)
	s.cfg.WS.Wait()
	s.cfg.Logger.Info("drained")
}

// delay waits, or until no client is left.
func (s *Server) delay(d time.Duration) {
	const look = 50 * time.Millisecond
	end := time.Now().Add(d)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for s.cfg.Hub.Sessions() > 0 && time.Now().Before(end) {
		<-ticker.C
	}
}
