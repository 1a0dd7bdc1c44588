package server

import (
	"log"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// An errorLog receives what [http.Server] logs, one entry with each Write. It
// limits each kind of entry to the first ten and then one in ten seconds,
// because clients can cause them.
type errorLog struct {
	logger                        *slog.Logger
	accepts, panics, tls, further rate.Sometimes
}

func newErrorLog(logger *slog.Logger) *log.Logger {
	l := &errorLog{logger: logger}
	for _, kind := range []*rate.Sometimes{&l.accepts, &l.panics, &l.tls, &l.further} {
		kind.First, kind.Interval = 10, 10*time.Second
	}
	return log.New(l, "", 0)
}

// Write implements [io.Writer].
func (l *errorLog) Write(p []byte) (int, error) {
	text := strings.TrimPrefix(strings.TrimSpace(string(p)), "http: ")
	if fault, ok := strings.CutPrefix(text, "TLS handshake error from "); ok {
		l.handshake(fault)
	} else if fault, ok := strings.CutPrefix(text, "Accept error: "); ok {
		l.accepts.Do(func() {
			l.logger.Warn("accepting a connection failed; the relay tries again", "err", fault,
				"do", "if too many files are open, raise the limit (ulimit -n, LimitNOFILE=, nofile)")
		})
	} else if fault, ok := strings.CutPrefix(text, "panic serving "); ok {
		l.panics.Do(func() {
			message, stack, _ := strings.Cut(fault, "\n")
			l.logger.Error("panic while serving a request; its connection is closed", "err", message, "stack", stack)
		})
	} else {
		l.further.Do(func() { l.logger.Warn("HTTP server error", "err", text) })
	}
	return len(p), nil
}

// handshake logs a failed TLS handshake. Most of them are connections of port
// scanners and health probes that do not speak TLS. If the certificate is the
// problem, the operator has to know.
func (l *errorLog) handshake(fault string) {
	if !strings.Contains(fault, "certificate") {
		l.logger.Debug("TLS handshake failed", "err", fault)
		return
	}
	l.tls.Do(func() {
		l.logger.Warn("TLS handshake failed because of the certificate", "setting", "SIDECAST_TLS_CERT", "err", fault,
			"do", "check that clients trust its issuer, that it is valid now, and that the file has the intermediate certificates")
	})
}
