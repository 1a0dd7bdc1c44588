package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sidecast/relay/stats"
)

type advisedError struct{ error }

func (advisedError) Advice() string { return "grant it" }

// TestReadErrorsAreAdvised checks that the log says what to do about an error of
// the store.
func TestReadErrorsAreAdvised(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w: %w", ErrNoStream, advisedError{errors.New("NOPERM")}), ` do="grant it" err="redis refuses this stream: NOPERM" times=1`},
		{ErrNoStream, ` err="redis refuses this stream" times=1`},
	} {
		var log strings.Builder
		rs := NewReaders(Config{
			Stats: new(stats.Stats), Now: func() int64 { return 0 }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		rs.Online()
		rs.reportReadError(tt.err)
		if !strings.Contains(log.String(), tt.want) {
			t.Errorf("%v: %s", tt.err, log.String())
		}
	}
}
