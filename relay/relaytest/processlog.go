package relaytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// LogField returns a field of a line that slog wrote as text or JSON, empty if
// the line does not have it.
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

// A processLog has the output of a process, as text and as lines. One goroutine
// calls Write and end; the other methods may be called concurrently.
type processLog struct {
	lines   growingLog[string]
	partial []byte // the incomplete line; owned by the writer

	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(p)
	l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.addLine(line)
		l.partial = rest
	}
}

func (l *processLog) addLine(line []byte) {
	text := strings.TrimSuffix(string(line), "\r")
	l.lines.add(func(int) string { return text }, false)
}

// end ends the log after the process has ended.
func (l *processLog) end() {
	if len(l.partial) > 0 {
		l.addLine(l.partial)
	}
	l.lines.end()
}

// String returns everything so far.
func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
