package presence

import (
	"cmp"
	"context"
	"errors"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/roster"
)

// readInbox handles the reports of the link.
func (w *worker) readInbox() {
	notices, overflow := w.p.inbox.take()
	changes := make(map[string][]roster.Change)
	for _, n := range notices {
		if n.isLink {
			w.apply(changes)
			clear(changes)
			w.linkChanged(n.link)
			continue
		}
		if channel, list, ok := parseChanges(n.changes); ok {
			changes[channel] = append(changes[channel], list...)
		} else {
			w.p.stats.PresenceErrors.Add(1)
		}
	}
	w.apply(changes)
	if overflow {
		w.lose(0)
	}
}

// linkChanged begins or ends an epoch.
func (w *worker) linkChanged(to linkState) {
	w.up, w.begun, w.retryAt = to != linkDown, false, 0
	if !w.up {
		return
	}
	w.epochBegan = w.p.cfg.Now()
	if w.epochs++; w.epochs > 1 {
		w.lose(w.p.cfg.lease)
	}
}

// lose makes the members of all watched channels be loaded again after a time,
// in which the relays can write theirs.
func (w *worker) lose(after time.Duration) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for channel, c := range p.watched {
		c.roster.Lose()
		c.loadAt = p.cfg.Now()
		if c.roster.Known() {
			c.loadAt += after
		}
		p.busy[channel] = c
	}
}

// apply applies changes and notifies the clients.
func (w *worker) apply(changes map[string][]roster.Change) {
	p := w.p
	for channel, list := range changes {
		p.mu.Lock()
		c := p.watched[channel]
		p.mu.Unlock()
		if c == nil {
			continue
		}
		if update, news := c.roster.Apply(list); news {
			w.notify(c, update)
		}
		if c.roster.Large() {
			w.large(c)
		}
	}
}

// large makes a channel with many members be looked at.
func (w *worker) large(c *watched) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[c.channel] != c {
		return
	}
	p.busy[c.channel] = c
	if c.loadAt == 0 && c.roster.Shrunk() {
		c.loadAt = p.cfg.Now() + p.cfg.reload
	}
}

// load loads the members of the watched channels for which that is due.
func (w *worker) load(ctx context.Context) error {
	p := w.p
	p.mu.Lock()
	var due []*watched
	for _, c := range p.busy {
		if c.loadAt != 0 && p.cfg.Now() >= c.loadAt {
			due = append(due, c)
		}
	}
	p.mu.Unlock()
	if len(due) > maxLoads {
		due, w.more = due[:maxLoads], true
	}
	for _, c := range due {
		if err := w.loadChannel(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) loadChannel(ctx context.Context, c *watched) error {
	p := w.p
	load := &call{
		script: loadScript, args: []any{cmp.Or(p.cfg.MaxMembers, roster.MaxMembers)},
		keys: []string{p.keys.members(c.channel), p.keys.infos(c.channel), p.keys.version},
	}
	if err := w.runEach(ctx, load); err != nil {
		return err
	}
	if load.failed {
		p.mu.Lock()
		c.loadAt = p.cfg.Now() + p.cfg.reload
		p.mu.Unlock()
		return nil
	}
	if len(load.reply) < 2 {
		return errors.New("the script that loads members returned too little")
	}
	members, invalid := membersOf(load.reply[2:])
	update := c.roster.Load(number(load.reply[0]), int(number(load.reply[1]))-invalid, members)
	p.mu.Lock()
	c.loadAt = 0
	select {
	case <-c.loaded:
	default:
		close(c.loaded)
	}
	p.mu.Unlock()
	w.notify(c, update)
	return nil
}

// membersOf returns the members of pairs of user and info, and how many of them
// have an invalid name: another program has written them.
func membersOf(pairs []any) (members []roster.Member, invalid int) {
	for i := 0; i+1 < len(pairs); i += 2 {
		m := roster.Member{User: text(pairs[i]), Info: []byte(text(pairs[i+1]))}
		if !access.ValidUser(m.User) {
			invalid++
			continue
		}
		if !validInfo(m.Info) {
			m.Info = nil
		}
		members = append(members, m)
	}
	return members, invalid
}

// notify gives an update to the clients that watch a channel, to those of a large
// channel part by part.
func (w *worker) notify(c *watched, update roster.Update) {
	if !update.Large() {
		w.p.cfg.Notify(c.channel, update)
		return
	}
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[c.channel] == c {
		c.count, c.left, c.countAt = update, roster.Parts, p.cfg.Now()
		p.busy[c.channel] = c
	}
}

// notifyCounts tells the next part of the clients of large channels how many
// members there are.
func (w *worker) notifyCounts() {
	p := w.p
	updates := make(map[string]roster.Update)
	p.mu.Lock()
	for channel, c := range p.busy {
		if p.cfg.Now() < c.countAt {
			continue
		}
		if update, ok := w.nextCountLocked(c); ok {
			updates[channel] = update
		} else if c.loadAt == 0 {
			delete(p.busy, channel)
		}
	}
	p.mu.Unlock()
	for channel, update := range updates {
		p.cfg.Notify(channel, update)
	}
}

// nextCountLocked returns the update for the next part of a channel's clients, or
// false if all of them know the number of members. All parts are told the same
// number, and only then a newer one.
func (w *worker) nextCountLocked(c *watched) (roster.Update, bool) {
	if c.left == 0 {
		update, changed := c.roster.Count()
		if !changed {
			c.countAt = 0
			return update, false
		}
		c.count, c.left = update, roster.Parts
	}
	update := c.count
	update.Part = roster.Parts - c.left + 1
	c.left--
	c.countAt = w.p.cfg.Now() + w.p.cfg.count/roster.Parts
	return update, true
}
