package app

import (
	"cmp"
	"context"
	"errors"
	"time"

	"sidecast/config"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
	"sidecast/relay/trace"
)

// TraceSettings returns the settings that decide what happens to the messages of
// a channel.
func TraceSettings(cfg *config.Config, s *Settings) *trace.Settings {
	t := &trace.Settings{
		Rules: s.Access, AsksChannels: cfg.ChannelAuthURL != "", SignsPusher: cfg.BroadcastAuthURL != "",
		UserChannels: cfg.UserChannels, MaxPayload: cfg.MaxPayloadBytes.Int(),
	}
	for _, name := range config.LoginSettings() {
		if name != "CHANNEL_AUTH_URL" && cfg.IsSet(name) {
			t.Logins = append(t.Logins, config.Prefix+name)
		}
	}
	if cfg.HistoryBytes.Int() > 0 {
		t.Remembers = int(time.Duration(cfg.HistoryAge).Seconds())
	}
	return t
}

// explain says what happens to the messages of a channel at this relay.
func (a *App) explain(ctx context.Context, channel string) *trace.Explanation {
	settings := TraceSettings(a.cfg, a.settings)
	e := settings.Explain(channel)
	state := a.channelState(channel)
	if e.Relayed == trace.RelayedDurable {
		state.Last, state.StreamProblem = a.newestEntry(ctx, channel)
	}
	state.Past = trace.ReadPast(ctx, a.box, channel)
	near := trace.NearList{Channel: channel}
	state.Partial = !a.hub.ScanChannels(ctx, near.Add)
	state.Near = near.Names()
	e.Add(settings, state, time.Now())
	return e
}

// channelState returns the state of a channel, as the hub knows it.
func (a *App) channelState(channel string) *trace.State {
	hub := a.hub.ChannelState(channel)
	state := &trace.State{
		Redis: a.link.Up(), Address: cmp.Or(a.embedded.addr(), a.settings.Redis.Address), Clients: a.hub.Sessions(), Joining: hub.Joining, Last: hub.Last, Protocols: make(map[string]int),
	}
	for _, id := range protocol.IDs() {
		if n := hub.Listeners[id]; n > 0 {
			state.Protocols[id.String()] = n
			state.Listeners += n
		}
	}
	return state
}

// newestEntry returns when the newest entry of a stream was added, which its id
// says, or why it cannot be read.
func (a *App) newestEntry(ctx context.Context, channel string) (at time.Time, problem string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	entries, err := a.link.Streams().Newest(ctx, channel, 1)
	if advised, ok := errors.AsType[stream.Advised](err); ok {
		return at, advised.Error() + "; " + advised.Advice()
	}
	switch {
	case err != nil:
		return at, a.settings.Redis.Redact(err)
	case len(entries) == 0:
		return at, ""
	}
	return time.UnixMilli(int64(entries[0].ID.Ms)), ""
}
