package relaytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LogField returns a field of a line that slog wrote, as text or JSON; empty if it has none of that name.
func LogField(line, key string) string {
	if strings.HasPrefix(line, "{") {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil || fields[key] == nil {
			return ""
		}
		return fmt.Sprint(fields[key])
	}
	for line != "" {
		name, rest, ok := strings.Cut(line, "=")
		if !ok {
			return ""
		}
		value := ""
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			value, _ = strconv.Unquote(quoted)
			line = strings.TrimPrefix(rest[len(quoted):], " ")
		} else {
			value, line, _ = strings.Cut(rest, " ")
		}
		if name == key {
			return value
		}
	}
	return ""
}

// processLog keeps what a process prints, by lines. It is written by one goroutine and read by others.
type processLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	lines   []string
	partial []byte        // the line that is not complete
	changed chan struct{} // closed at the next line; nil while nobody waits
	ended   bool
}

// Write implements [io.Writer].
func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.partial = append(l.partial, p...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			break
		}
		l.lines = append(l.lines, strings.TrimSuffix(string(line), "\r"))
		l.partial = rest
	}
	l.wake()
	return len(p), nil
}

// end says that nothing follows.
func (l *processLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.lines = append(l.lines, string(l.partial))
	}
	l.partial, l.ended = nil, true
	l.wake()
}

// wake needs the lock.
func (l *processLog) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// String returns everything so far.
func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *processLog) from(n int) (lines []string, changed <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil && !l.ended {
		l.changed = make(chan struct{})
	}
	return l.lines[n:len(l.lines):len(l.lines)], l.changed, l.ended
}

func (l *processLog) await(patience time.Duration, match func(string) bool) (string, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for n := 0; ; {
		lines, changed, ended := l.from(n)
		for _, line := range lines {
			if match(line) {
				return line, nil
			}
		}
		n += len(lines)
		if ended {
			return "", errors.New("the process ended")
		}
		select {
		case <-changed:
		case <-limit.C:
			return "", fmt.Errorf("nothing in %v", patience)
		}
	}
}
