package app

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/admin"
	"sidecast/relay/console"
	"sidecast/relay/protocol"
	"sidecast/relay/sse"
)

// maxWatches is how many channels operators may watch at a time.
const maxWatches = 8

// console returns the page for operators.
func (a *App) console() admin.Console {
	settings := []console.Setting{}
	for _, s := range a.cfg.Effective() {
		settings = append(settings, console.Setting{Name: s.Name, Value: s.Value, FromEnv: s.FromEnv})
	}
	page := console.New(console.Config{
		Stats: a.stats, BlackBox: a.box, Version: a.options.Version, Settings: settings,
		Gauges: console.Gauges{Sockets: a.slots.Used, OutboxBytes: a.budget.Used, HistoryBytes: a.hub.HistoryBytes},
	})
	places := accept.NewSlots(maxWatches)
	a.watch = sse.New(sse.Config{
		Hub: a.hub, Access: a.settings.Access, Budget: a.budget, Slots: places, Stats: a.stats,
		Logger: a.options.Logger, Refusals: a.refusals, Reader: a.reader, Listened: true, MaxChannels: 1,
		Identify: func(*http.Request, *string) (access.Principal, protocol.CloseCode) { return operator, 0 },
	})
	return admin.Console{Page: page.Page(), Feed: page.Feed(), Watch: onlyWatch(a.watch, places)}
}

// operator may receive every channel that is relayed, and is no user.
var operator = access.Principal{Identity: &access.Identity{Subscribe: access.Patterns{access.MustPattern("*")}}}

// onlyWatch makes a request for the messages of one channel one that the
// transport of event streams serves. It hides the connection, which has a place
// at the admin listener and not among the clients, and the origin, which may not
// be allowed to read the answer. If there is no place, it says so itself: the
// transport would advise to raise the limit on clients, and count a client that
// was rejected.
func onlyWatch(next http.Handler, places *accept.Slots) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if places.Used() >= maxWatches {
			w.Header().Set("Retry-After", "10")
			http.Error(w, fmt.Sprintf("%d channels are watched already: stop one of them", maxWatches), http.StatusServiceUnavailable)
			return
		}
		r = r.Clone(withoutValues{r.Context()})
		r.Header.Del("Origin")
		query := r.URL.Query()
		r.URL.RawQuery = "format=json&channel=" + url.QueryEscape(query.Get("channel"))
		next.ServeHTTP(w, r)
	})
}

// withoutValues is a context that ends with another one, and has no values.
type withoutValues struct{ context.Context }

// Value implements [context.Context].
func (withoutValues) Value(any) any { return nil }
