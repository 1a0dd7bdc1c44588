package trace

import (
	"fmt"
	"net/url"
	"strings"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// Settings are those that decide what happens to the messages of a channel.
type Settings struct {
	Rules        *access.Rules
	Logins       []string // the settings of which each one lets clients log in with rights of their own
	AsksChannels bool     // the application is asked about a channel that no grant opens
	SignsPusher  bool     // the relay signs for clients of the Pusher protocol, if the application allows it
	UserChannels []string // each user's own channels, with {user}
	MaxPayload   int      // bytes
	Remembers    int      // seconds for which the relay keeps messages; 0: it does not keep them
}

// A Relayed says whether the relay receives the messages of a channel.
type Relayed string

// The ways in which a relay treats a name.
const (
	RelayedLive    Relayed = "live"
	RelayedDurable Relayed = "durable"
	NotRelayed     Relayed = "not_relayed" // no pattern matches it
	NotAName       Relayed = "not_a_name"  // no channel can have this name
	Reserved       Relayed = "reserved"    // it is for Redis or the relays themselves
)

// An Explanation says what happens to the messages of one channel. Its JSON form
// is the answer of the admin listener to /explain, and what `sidecast explain
// --json` prints.
type Explanation struct {
	Channel string       `json:"channel"`
	Redis   string       `json:"redis_name"` // that the application uses
	Relayed Relayed      `json:"relayed"`
	Pattern string       `json:"pattern,omitempty"` // that matches it
	Setting string       `json:"setting,omitempty"` // that has the pattern
	Nearest *PatternMiss `json:"nearest,omitempty"` // of the patterns that do not match it
	Kind    []string     `json:"kind,omitempty"`    // what else the channel is: presence, private, encrypted, cache, user
	Open    []Opening    `json:"open,omitempty"`    // to whom; nobody if it is empty
	State   *State       `json:"state,omitempty"`   // nil if no relay has answered
	Says    []Sentence   `json:"says"`

	MaxPayload int `json:"max_payload"` // bytes of a message that the relay accepts from Redis

	unprefixed string // the name without a prefix that only Redis knows
}

// An Opening says which clients may subscribe to a channel, and by which
// setting.
type Opening struct {
	To      Audience `json:"to"`
	Setting string   `json:"setting"`
	By      string   `json:"by,omitempty"` // the pattern, or the user
}

// An Audience is a kind of clients.
type Audience string

// The audiences.
const (
	Everyone    Audience = "everyone"
	LoggedIn    Audience = "login"       // whose login grants the channel
	OneUser     Audience = "user"        // whose own channel it is
	Asked       Audience = "application" // whom the application allows it when the relay asks
	WithSig     Audience = "signature"   // that present a signature for the channel
	PusherSigns Audience = "pusher"      // of the Pusher protocol, that present a signature of the application
)

// A Sentence says one thing to people. Wrong means that it is a reason why
// messages do not arrive; then Do says what helps.
type Sentence struct {
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"`
	Wrong bool   `json:"wrong,omitempty"`
}

// Explain explains a channel by the settings alone, by the name that
// clients use.
func (s *Settings) Explain(channel string) *Explanation {
	e := &Explanation{Channel: channel, Redis: s.Rules.Names.Redis(channel), MaxPayload: s.MaxPayload}
	e.Relayed = s.relayed(channel)
	switch e.Relayed {
	case RelayedDurable:
		e.Setting, e.Pattern = "SIDECAST_DURABLE_CHANNELS", s.Rules.Durable[s.Rules.Durable.Owner(channel)].String()
	case RelayedLive:
		e.Setting, e.Pattern = "SIDECAST_CHANNELS", s.Rules.Channels[s.Rules.Channels.Owner(channel)].String()
	case NotRelayed:
		e.Nearest = s.nearest(channel)
		e.unprefixed = s.withoutPrefix(channel)
	}
	if e.isRelayed() {
		e.Kind = s.kinds(channel)
		e.Open = s.openings(channel)
	}
	e.Says = e.fromSettings(s)
	if mistake := access.Mistake(channel); mistake != protocol.ReasonUsual {
		e.Says = append(e.Says, Sentence{Text: fmt.Sprintf("the name %q looks like a mistake", channel), Do: mistake.String(), Wrong: true})
	}
	return e
}

// relayed returns how the relay treats a name.
func (s *Settings) relayed(channel string) Relayed {
	switch {
	case !access.ValidChannel(channel):
		return NotAName
	case s.Rules.Names.Reserved(channel):
		return Reserved
	case s.Rules.Durable.Match(channel):
		return RelayedDurable
	case s.Rules.Channels.Match(channel):
		return RelayedLive
	}
	return NotRelayed
}

func (e *Explanation) isRelayed() bool {
	return e.Relayed == RelayedLive || e.Relayed == RelayedDurable
}

// nearest returns the pattern of the relayed channels that misses the name by
// the least, or nil.
func (s *Settings) nearest(channel string) *PatternMiss {
	miss, ok := nearestPattern(s.Rules.Channels, channel)
	if !ok {
		return nil
	}
	miss.Setting = "SIDECAST_CHANNELS"
	for _, p := range s.Rules.Durable {
		if p.String() == miss.Pattern {
			miss.Setting = "SIDECAST_DURABLE_CHANNELS"
		}
	}
	return &miss
}

// withoutPrefix returns a name that is relayed without the prefix that channels
// have in Redis, or "".
func (s *Settings) withoutPrefix(channel string) string {
	bare, ok := strings.CutPrefix(channel, s.Rules.Names.Redis(""))
	if ok && bare != channel && s.Rules.Relayed(bare) == protocol.CodeOK {
		return bare
	}
	return ""
}

// kinds returns the kinds that the settings and the prefixes of the Pusher
// protocol give to a channel.
func (s *Settings) kinds(channel string) (kinds []string) {
	var k access.ChannelKind
	if s.Rules.App != nil {
		k = access.KindOf(channel)
	}
	for name, is := range map[string]bool{
		"presence": s.Rules.Presence.Match(channel), "private": k.Private, "encrypted": k.Encrypted, "cache": k.Cache, "user": k.User,
	} {
		if is {
			kinds = append(kinds, name)
		}
	}
	return sorted(kinds)
}

// openings returns who may subscribe to a relayed channel.
func (s *Settings) openings(channel string) (list []Opening) {
	r := s.Rules
	if owner := r.Public.Owner(channel); owner >= 0 && !r.Guarded(channel) {
		list = append(list, Opening{To: Everyone, Setting: "SIDECAST_PUBLIC_CHANNELS", By: r.Public[owner].String()})
	}
	if user := s.owner(channel); user != "" && len(s.Logins) > 0 {
		list = append(list, Opening{To: OneUser, Setting: "SIDECAST_USER_CHANNELS", By: user})
	}
	for _, setting := range s.Logins {
		list = append(list, Opening{To: LoggedIn, Setting: setting})
	}
	if s.AsksChannels {
		list = append(list, Opening{To: Asked, Setting: "SIDECAST_CHANNEL_AUTH_URL"})
	}
	if r.Secrets != nil {
		list = append(list, Opening{To: WithSig, Setting: "SIDECAST_CHANNEL_SECRET"})
	}
	if r.App != nil && access.KindOf(channel).Guarded() {
		opening := Opening{To: PusherSigns, Setting: "SIDECAST_PUSHER_KEY"}
		if s.SignsPusher {
			opening.Setting = "SIDECAST_BROADCAST_AUTH_URL"
		}
		list = append(list, opening)
	}
	return list
}

// owner returns the user whose own channel this is, or "".
func (s *Settings) owner(channel string) string {
	for _, template := range s.UserChannels {
		before, after, ok := strings.Cut(template, "{user}")
		rest, begins := strings.CutPrefix(channel, before)
		user, ends := strings.CutSuffix(rest, after)
		if !ok || !begins || !ends || user == "" {
			continue
		}
		if plain, err := url.PathUnescape(user); err == nil && access.ValidUser(plain) {
			return plain
		}
	}
	return ""
}

// fromSettings returns the sentences for which no relay is needed.
func (e *Explanation) fromSettings(s *Settings) []Sentence {
	switch e.Relayed {
	case NotAName:
		return []Sentence{{
			Text: fmt.Sprintf("%q is not a name that a channel can have", e.Channel), Wrong: true,
			Do: fmt.Sprintf("write 1 to %d bytes of UTF-8 without control characters", access.MaxChannelName),
		}}
	case Reserved:
		return []Sentence{{
			Text: fmt.Sprintf("%q is a reserved name: the relay drops its messages, and browsers cannot subscribe to it", e.Channel),
			Do:   "use a name that begins neither with the key prefix nor with __", Wrong: true,
		}}
	case NotRelayed:
		return []Sentence{e.notRelayed()}
	}
	says := []Sentence{{Text: fmt.Sprintf("relayed: %q in %s matches %q%s", e.Pattern, e.Setting, e.Channel, e.inRedis())}}
	if e.Relayed == RelayedDurable {
		says = append(says, Sentence{Text: fmt.Sprintf("durable: its messages are the entries of the stream %q. The application adds them with XADD, "+
			"and then publishes an empty message; a PUBLISH alone delivers nothing", e.Redis)})
	}
	return append(says, e.access(s)...)
}

// inRedis names the channel as the application has to, if that differs.
func (e *Explanation) inRedis() string {
	if e.Redis == e.Channel {
		return ""
	}
	return fmt.Sprintf("; in Redis it is %q", e.Redis)
}

// notRelayed says why no pattern matches a name.
func (e *Explanation) notRelayed() Sentence {
	says := Sentence{
		Text: fmt.Sprintf("not relayed: no pattern in SIDECAST_CHANNELS or SIDECAST_DURABLE_CHANNELS matches %q, so its messages do not reach the relay", e.Channel),
		Do:   fmt.Sprintf("add %q to SIDECAST_CHANNELS, or use a name that is relayed", e.Channel), Wrong: true,
	}
	switch miss := e.Nearest; {
	case e.unprefixed != "":
		says.Do = fmt.Sprintf("clients and settings use names without SIDECAST_CHANNEL_PREFIX: %q", e.unprefixed)
	case miss != nil:
		says.Text += fmt.Sprintf("; %q in %s misses it by %s", miss.Pattern, miss.Setting, miss.How.by())
		says.Do = fmt.Sprintf("use the name %q, or correct the pattern", miss.Name)
	}
	return says
}

// by ends a sentence that begins with "misses it by".
func (l Likeness) by() string {
	switch l {
	case LikeBlank:
		return "a blank"
	case LikeCase:
		return "capital letters"
	case LikeSeparator:
		return "a separator"
	case LikePrefix:
		return "a prefix"
	}
	return "one character"
}

// access says who may subscribe to a relayed channel.
func (e *Explanation) access(s *Settings) (says []Sentence) {
	if len(e.Open) == 0 {
		return []Sentence{e.closed(s)}
	}
	for _, o := range e.Open {
		says = append(says, Sentence{Text: "open to " + o.sentence()})
	}
	return says
}

// sentence continues a sentence that begins with "open to".
func (o Opening) sentence() string {
	switch o.To {
	case Everyone:
		return fmt.Sprintf("every client: %q in %s", o.By, o.Setting)
	case LoggedIn:
		return fmt.Sprintf("clients whose login grants it: %s", o.Setting)
	case OneUser:
		return fmt.Sprintf("the user %q, whose own channel it is: %s", o.By, o.Setting)
	case Asked:
		return fmt.Sprintf("clients that the application allows it: %s", o.Setting)
	case WithSig:
		return fmt.Sprintf("clients with a signature for it: %s", o.Setting)
	}
	return fmt.Sprintf("clients of the Pusher protocol with what the application has signed for them: %s", o.Setting)
}

// closed says why no client may subscribe to a relayed channel.
func (e *Explanation) closed(s *Settings) Sentence {
	says := Sentence{
		Text: fmt.Sprintf("open to nobody: no pattern in SIDECAST_PUBLIC_CHANNELS matches %q, and clients cannot log in, so every client is refused", e.Channel),
		Do:   fmt.Sprintf("add %q to SIDECAST_PUBLIC_CHANNELS if every client may receive it, or set up a login", e.Channel), Wrong: true,
	}
	if s.Rules.Guarded(e.Channel) {
		says.Text = fmt.Sprintf("open to nobody: the name %q is that of a private channel with the prefix of a library, which is never public", e.Channel)
		says.Do = "set SIDECAST_CHANNEL_PREFIX to that prefix"
	} else if miss, ok := nearestPattern(s.Rules.Public, e.Channel); ok {
		says.Text += fmt.Sprintf("; %q misses it by %s", miss.Pattern, miss.How.by())
	}
	return says
}
