package command

import (
	"errors"
	"fmt"
	"io"

	"sidecast/relay/source"
)

// ErrCheck says that a check found something that keeps the relay from working.
var ErrCheck = errors.New("the relay would not work like this: see what is marked fail")

// Report writes what a check found, one line each with what to do below it, and returns [ErrCheck] if anything failed.
func Report(out io.Writer, findings []source.Finding) error {
	failed := false
	for _, f := range findings {
		fmt.Fprintf(out, "%-4s  %s: %s\n", f.Level, f.Subject, f.Text)
		if f.Do != "" {
			fmt.Fprintf(out, "      %s\n", f.Do)
		}
		failed = failed || f.Level == source.LevelFail
	}
	if failed {
		return ErrCheck
	}
	return nil
}

// FileLimit judges whether the process may open as many files as it takes connections. files is 0 where there is no
// limit.
func FileLimit(connections, files int) source.Finding {
	f := source.Finding{Subject: "file descriptors", Text: fmt.Sprintf("room for %d connections", connections)}
	switch {
	case files == 0:
	case connections > files/5*4:
		f.Level, f.Do = source.LevelWarn, "raise the limit (ulimit -n, LimitNOFILE=, nofile) or lower SIDECAST_MAX_CONNECTIONS"
		f.Text = fmt.Sprintf("%d connections are permitted, but only %d files may be open", connections, files)
	case connections < 1000:
		f.Level, f.Do = source.LevelWarn, "raise the limit (ulimit -n, LimitNOFILE=, nofile)"
		f.Text = fmt.Sprintf("only %d connections fit: %d files may be open", connections, files)
	}
	return f
}
