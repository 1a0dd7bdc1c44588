package relay_test

// worldRules are those of live and of durable channels together.
type worldRules struct {
	live    *liveRules
	durable *durableRules
}

func (c *actorClient) newRules(s *story, known int) *worldRules {
	return &worldRules{newLiveRules(c, s, known), newDurableRules(c, s)}
}

func (r *worldRules) subscribe(a answer) {
	if isDurable(a.channel) {
		r.durable.subscribe(a)
	} else {
		r.live.subscribe(a)
	}
}

func (r *worldRules) answered(a answer, e *event) error {
	switch {
	case a.channel == "":
		return nil
	case isDurable(a.channel):
		return r.durable.answered(a, e)
	}
	return r.live.answered(a, e)
}

// message finds the kind of channel. A raw message has no channel, but its
// payload is unique.
func (r *worldRules) message(e *event) error {
	if isDurable(e.channel) || e.channel == "" && r.durable.store.byPayload[string(e.payload)] != nil {
		return r.durable.message(e)
	}
	return r.live.message(e)
}

func (r *worldRules) gap(e *event) error {
	r.live.relay.world.counts["gap "+e.reason]++
	if isDurable(e.channel) {
		return r.durable.gap(e)
	}
	return r.live.gap(e)
}

func (r *worldRules) outage(e *event) error { return r.live.outage(e) }

func (r *worldRules) complete() error {
	if err := r.live.complete(); err != nil {
		return err
	}
	return r.durable.complete()
}

// worldFacts are those of live and of durable channels together.
type worldFacts struct {
	*story
	live    liveFacts
	durable durableFacts
}

func (c *actorClient) facts() worldFacts {
	w := c.relay.world
	return worldFacts{&c.story, liveFacts{c.relay, w.log, &c.story}, durableFacts{w.store, &c.story}}
}

// of returns the facts of the channel of event i.
func (f worldFacts) of(i int) facts {
	if isDurable(f.events[i].channel) {
		return f.durable
	}
	return f.live
}

func (f worldFacts) required(i int) bool        { return f.of(i).required(i) }
func (f worldFacts) gapNeeded(i int) bool       { return f.of(i).gapNeeded(i) }
func (f worldFacts) gapBefore(i, next int) bool { return f.of(i).gapBefore(i, next) }
func (f worldFacts) endNeeded(i int) bool       { return f.of(i).endNeeded(i) }
func (f worldFacts) falseGap(i int) *event      { return f.of(i).falseGap(i) }
func (f worldFacts) sent(i int) *event          { return f.of(i).sent(i) }

func (f worldFacts) mutants(s *subject) []mutant {
	return append(f.live.mutants(s), f.durable.mutants(s)...)
}
