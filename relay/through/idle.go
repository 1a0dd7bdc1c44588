package through

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/source"
)

const idleStream = "idle event stream"

// errAtOnce is the reason for the end of a stream that has no position: with such
// a stream, the relay makes a browser try again.
var errAtOnce = errors.New("the relay ends it at once")

// A watched is a connection that is open while nothing happens. Its fields belong
// to the goroutine that reads from it until that ends.
type watched struct {
	subject    string
	every      time.Duration // between heartbeats
	began      time.Time
	heartbeats int       // that have arrived
	last       time.Time // when the last one arrived
	err        error     // why it has ended; nil if it has not
	ended      time.Time
}

// An observer reads from connections that are idle, each in a goroutine.
type observer struct {
	every   time.Duration   // between heartbeats
	waiting context.Context // ends when no more is read
	results chan *watched
	running int
}

// watch reads from a connection until it ends or interrupt is called, which makes
// read return.
func (o *observer) watch(subject string, interrupt func(), read func(*watched) error) {
	o.running++
	go func() {
		defer context.AfterFunc(o.waiting, interrupt)()
		w := &watched{subject: subject, every: o.every, began: time.Now()}
		w.last = w.began
		err := read(w)
		if w.ended = time.Now(); o.waiting.Err() == nil {
			w.err = err
		}
		o.results <- w
	}()
}

// idle opens an event stream beside the WebSocket, leaves both open, and reports
// for each whether heartbeats arrive and how it ended. s may be nil.
func (c *check) idle(ctx context.Context, s *socket) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	o := &observer{every: cmp.Or(c.heartbeat, usualHeartbeat), waiting: waiting, results: make(chan *watched)}
	if s != nil { // the relay expects answers to its pings while the stream begins
		o.watch("idle WebSocket", func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }, s.watch)
	}
	if stream := c.openStream(ctx); stream != nil {
		defer stream.close()
		o.watch(idleStream, stream.cancel, stream.watch)
	}
	timer, ticker := time.AfterFunc(c.Idle, stop), time.NewTicker(time.Second)
	defer timer.Stop()
	defer ticker.Stop()
	for began := time.Now(); o.running > 0; {
		select {
		case w := <-o.results:
			o.running--
			if f := c.judge(w); c.Idle > 0 || f.Level != source.LevelOK {
				c.Report(f)
			}
		case <-ticker.C:
			if c.Wait != nil {
				c.Wait(time.Since(began), c.Idle)
			}
		}
	}
}

// watch reads until the connection ends.
func (s *socket) watch(w *watched) error {
	s.pinged = w.heard // the Pusher protocol has no other heartbeats
	for {
		if _, err := s.next(); err != nil {
			return err
		}
		w.heard()
	}
}

// watch reads until the stream ends. Blocks end with an empty line. The relay
// announces the end in a separate block, which becomes the error *closed.
func (s *stream) watch(w *watched) error {
	positions, closing := 0, false
	for {
		line, err := s.reader.ReadString('\n')
		switch {
		case err != nil && positions == 0:
			return errAtOnce
		case err != nil:
			return err
		case line == "\n":
			w.heard()
		case strings.HasPrefix(line, "id:"):
			positions++
		case line == "event: close\n":
			closing = true
		case closing && strings.HasPrefix(line, "data:"):
			end := &closed{}
			_ = json.Unmarshal([]byte(line[len("data:"):]), end)
			return end
		}
	}
}

// heard counts what arrives as a heartbeat unless it directly follows something,
// as the later lines at the beginning of a stream do.
func (w *watched) heard() {
	now := time.Now()
	if now.Sub(w.last) > w.every/2 {
		w.heartbeats++
	}
	w.last = now
}

// judge says what became of a connection.
func (c *check) judge(w *watched) source.Finding {
	f := source.Finding{Subject: w.subject}
	lasted, silent := w.ended.Sub(w.began), w.ended.Sub(w.last)
	due := w.every + w.every/10 // the relay varies it by a tenth
	switch {
	case w.err != nil:
		return c.cut(w, lasted, silent)
	case silent > due+lateness:
		return c.silent(w, silent)
	case w.heartbeats == 0:
		f.Text = fmt.Sprintf("was open for %s; heartbeats follow every %s, so a longer --idle shows more", seconds(lasted), seconds(w.every))
	default:
		f.Text = fmt.Sprintf("was open for %s, and heartbeats arrive every %s", seconds(lasted), seconds(w.every))
	}
	return f
}

// silent describes a connection on which heartbeats are missing.
func (c *check) silent(w *watched, silent time.Duration) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: w.subject}
	text := fmt.Sprintf("nothing arrives for %s, although the relay sends a heartbeat every %s: ", seconds(silent), seconds(w.every))
	if w.subject == idleStream {
		f = c.buffered(text + "a proxy holds it back")
		f.Subject = w.subject
		return f
	}
	f.Text = text + "something drops the connection silently"
	f.Do = "look for a firewall, a NAT or a proxy that forgets connections; it must wait for longer than SIDECAST_PING_INTERVAL"
	return f
}

// cut describes a connection that was ended.
func (c *check) cut(w *watched, lasted, silent time.Duration) source.Finding {
	f := source.Finding{Level: source.LevelFail, Subject: w.subject}
	f.Text = fmt.Sprintf("was cut after %s, %s", seconds(lasted), ended(w.err))
	end, byFrame := errors.AsType[*closed](w.err)
	switch {
	case w.err == errAtOnce:
		f.Level, f.Text = source.LevelWarn, "the relay ends it at once, and lets browsers try again: it restarts, or a limit of connections is reached"
		f.Do = "run this check again; if it happens again, see the relay's log"
	case byFrame && end.Code == protocol.CloseRestart:
		f.Level, f.Text = source.LevelWarn, fmt.Sprintf("the relay ended it after %s, because it restarts", seconds(lasted))
		f.Do = "run this check again"
	case byFrame && end.isOurs():
		f.Level, f.Do = source.LevelWarn, "the relay ended it, not a proxy: see its log"
	case silent < min(w.every, lasted)*9/10:
		f.Text += fmt.Sprintf(", %s after the last heartbeat: something limits the whole time of a connection", seconds(silent))
		f.Do = "raise or remove that limit, which is often in a load balancer, a gateway or a service mesh (timeouts of requests or routes)"
	default:
		f.Text += fmt.Sprintf("; nothing was sent for %s, and the relay sends a heartbeat only every %s", seconds(silent), seconds(w.every))
		f.Do = fmt.Sprintf("let the proxy, and each load balancer or CDN on the way, wait for longer, or set SIDECAST_PING_INTERVAL to less than %s:\n%s", seconds(silent), c.fix(fixTimeout))
	}
	return f
}

// seconds returns a duration as whole seconds, or milliseconds if it is shorter.
func seconds(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
}

// unanswered says how a connection ended on which no answer arrived.
func unanswered(err error) string {
	switch {
	case isReset(err):
		return "the connection was reset (RST), which the relay does not do: a proxy or a firewall did it"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	}
	return ended(err)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// ended says how a connection ended, and who did it as far as that is visible.
func ended(err error) string {
	timeout, isNet := errors.AsType[net.Error](err)
	end, byFrame := errors.AsType[*closed](err)
	switch {
	case byFrame:
		return fmt.Sprintf("with the close frame %d %q", end.Code, end.Reason)
	case isReset(err):
		return "by a reset (RST), which the relay does not send: a proxy or a firewall did it"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "by a FIN without a close frame, which the relay would send: a proxy did it, or the relay was killed"
	case isNet && timeout.Timeout():
		return fmt.Sprintf("nothing arrived within %v", answerTime)
	}
	return short(err.Error())
}
