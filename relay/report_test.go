package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A reporter is a [relay.Reporter] that wants all kinds but one.
type reporter struct {
	without protocol.ReportKind
	mu      sync.Mutex
	reports []string
}

func (r *reporter) Enabled(kind protocol.ReportKind) bool { return kind != r.without }
func (r *reporter) Write(report protocol.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	session := ""
	if report.Session != "" {
		session = "session"
	}
	r.reports = append(r.reports, fmt.Sprintf("%s user=%s %s channel=%s code=%s", report.Kind, report.User, session, report.Channel, report.Code))
}

// expect compares the reports since the last expect.
func (r *reporter) expect(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.reports, want) {
		t.Errorf("reports\n%q, want\n%q", r.reports, want)
	}
	r.reports = nil
}

// The hub reports what its clients do and what is done to them.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &reporter{without: protocol.NumReportKinds}
		var unavailable error
		chat := access.Patterns{access.MustPattern("chat")}
		h := newTestHub(t, relay.HubConfig{
			Reporter: to,
			Access:   &access.Rules{Names: access.NewNames("", ""), Channels: chat, Public: chat, Publish: chat, Login: true},
			Publish:  func(context.Context, string, []byte) (int64, error) { return 1, unavailable },
		})
		t.Cleanup(h.start())
		c := h.connect(connectOptions{protocol: protocol.V1{}, room: outboxtest.Unlimited, channels: []string{"chat"}})
		to.expect(t, "connected user= session channel= code=")
		c.handle(`{"type":"publish","channel":"chat","data":"hello"}`)
		to.expect(t, "published user= session channel=chat code=")
		unavailable = errors.New("no link")
		c.handle(`{"type":"publish","channel":"chat","data":"hello"}`)
		to.expect(t) // it is not refused, and may arrive
		c.handle(`{"type":"publish","channel":"other","data":"hello"}`)
		c.handle(`{"type":"subscribe","channel":"other"}`)
		c.handle(`{"type":"subscribe","channel":"sidecast:x"}`)
		c.handle(`{"type":"subscribe","channel":"a\nb"}`)
		to.expect(t, "refused user= session channel=other code=forbidden", "refused user= session channel=other code=forbidden",
			"refused user= session channel=sidecast:x code=bad_channel", "refused user= session channel= code=bad_channel")
		c.session.Close(protocol.CloseRestart)
		c.leave()
		to.expect(t, "disconnected user= session channel= code=1012")

		for channel, want := range map[string]string{"other": "4403", "sidecast:x": "4403"} {
			client := &relay.Client{Principal: access.Principal{Identity: &access.Identity{User: "42"}}}
			if code := h.Admit(t.Context(), client, []string{"chat", channel}); fmt.Sprint(code.Number()) != want {
				t.Errorf("%s: closed with %d", channel, code.Number())
			}
			to.expect(t, "refused user=42  channel="+channel+" code="+want)
		}
		h.ReportRejected(protocol.CloseTryLater)
		h.ReportRejected(0)
		h.ReportRejected(protocol.CloseUnauthorized.Because(protocol.ReasonLogin))
		to.expect(t, "refused user=  channel= code=4401")

		to.without = protocol.ReportConnected
		h.connect(connectOptions{protocol: protocol.V1{}, room: outboxtest.Unlimited}).leave()
		to.expect(t, "disconnected user= session channel= code=1006")
	})
}

// A client that reads too slowly is reported as evicted, before its end.
func TestReportEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &reporter{without: protocol.ReportConnected}
		h := newTestHub(t, relay.HubConfig{Reporter: to})
		t.Cleanup(h.start())
		c := h.connect(connectOptions{protocol: protocol.V1{}, room: 0, channels: []string{"a"}})
		for range 3 {
			h.Publish([]byte("a"), make([]byte, 900_000))
			h.Flush()
		}
		synctest.Wait()
		c.leave()
		to.expect(t, "evicted user= session channel= code=4408", "disconnected user= session channel= code=4408")
	})
}
