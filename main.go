// Sidecast relays what an application publishes to Redis to the browsers that listen.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sidecast/config"
	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/admin"
	"sidecast/relay/auth"
	"sidecast/relay/command"
	"sidecast/relay/embedded"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
	"sidecast/relay/source"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
	"sidecast/relay/web"
	"sidecast/relay/ws"
)

// Set by release builds, with -ldflags -X.
var version, commit string

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitConfig  = 2
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if <-signals == os.Interrupt {
			cancel(server.ErrHurry)
		} else {
			cancel(nil)
		}
		<-signals // whoever asks twice means it
		os.Exit(exitFailure)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `Sidecast relays what an application publishes to Redis to browsers, over WebSocket.

Usage:
  sidecast [serve]                   run the relay
  sidecast publish CHANNEL PAYLOAD   publish to Redis as an application does, or add to a durable channel's stream; - reads
                                     the payload from standard input
  sidecast tail CHANNEL...           print what a browser would hear; --url ws://host/ws for another relay;
                                     --token-file FILE logs in with a token; - reads it from standard input
  sidecast token --user ID           make a token with SIDECAST_JWT_SECRET, as the application would; patterns it opens:
                                     --channel, --publish; channels to join: --subscribe (all repeatable); --ttl 1h
  sidecast check                     say what is wrong with the settings, Redis and its permissions, and your
                                     application's answers, and what to do
  sidecast config                    print the settings as they are now, without secrets
  sidecast healthcheck               exit 0 if the relay on this machine lives
  sidecast version                   print the version
  sidecast help [COMMAND]            print this, or what it says of one command

Without SIDECAST_REDIS_URL the relay brings a Redis of its own, in memory, for development.
Exit codes: 0 clean, 1 failure, 2 bad configuration.

Settings, all from the environment:

`

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	c := &cli{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	command, ok := map[string]func(context.Context) error{
		"serve": c.serve, "publish": c.publish, "tail": c.tail, "check": c.check, "config": c.config,
		"token": c.token, "healthcheck": c.healthcheck, "version": c.version,
		"help": c.help, "-h": c.help, "-help": c.help, "--help": c.help,
		"-v": c.version, "-version": c.version, "--version": c.version,
	}[name]
	if ok && len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		command, name, c.args = c.help, "help", []string{strings.TrimLeft(name, "-")}
	}
	err := c.misuse(name, ok)
	if err == nil {
		err = command(ctx)
	}
	var faults config.Faults
	var misuse usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &faults):
		fmt.Fprintf(stderr, "sidecast: the configuration is not right:\n%v\n", faults)
		return exitConfig
	case errors.As(err, &misuse):
		fmt.Fprintf(stderr, "sidecast: %v\n", misuse)
		return exitConfig
	}
	fmt.Fprintf(stderr, "sidecast: %v\n", err)
	return exitFailure
}

// usageError says how a command is written.
type usageError string

func (e usageError) Error() string { return string(e) }

// misuse refuses what is no command, and arguments where there is nothing to say: who writes some expects that they do
// something.
func (c *cli) misuse(command string, known bool) error {
	const settings = "settings come from the environment, see sidecast help"
	switch {
	case !known && strings.HasPrefix(command, "-"):
		return usageError(fmt.Sprintf("there is no option %q: %s", command, settings))
	case !known:
		return usageError(fmt.Sprintf("there is no command %q; see sidecast help", command))
	case len(c.args) > 0 && slices.Contains([]string{"serve", "check", "config", "healthcheck", "version"}, command):
		return usageError(command + " takes no arguments: " + settings)
	}
	return nil
}

func (c *cli) help(context.Context) error {
	if len(c.args) > 0 {
		text := command.HelpOn(usage, c.args[0])
		if text == "" || len(c.args) > 1 {
			return usageError(fmt.Sprintf("there is no command %q; see sidecast help", strings.Join(c.args, " ")))
		}
		_, err := fmt.Fprintf(c.stdout, "Usage:\n%s\nSettings come from the environment: sidecast help lists them.\n", text)
		return err
	}
	if _, err := io.WriteString(c.stdout, usage); err != nil {
		return err
	}
	return config.HelpTable(c.stdout)
}

func (c *cli) version(context.Context) error {
	number, revision := buildVersion()
	_, err := fmt.Fprintf(c.stdout, "sidecast %s (%s)\n", number, revision)
	return err
}

// buildVersion returns what the release build set, or else what the Go toolchain knows.
func buildVersion() (number, revision string) {
	number, revision = version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		number = cmp.Or(number, info.Main.Version)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = cmp.Or(revision, s.Value)
			}
		}
	}
	return cmp.Or(number, "unknown"), cmp.Or(revision, "unknown")
}

// A cli is what the commands share.
type cli struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// load reads the settings, prints what is odd about them, and adds the faults that only the relay can see.
func (c *cli) load() (*config.Config, *settings, error) {
	cfg, warnings, err := config.Load()
	for _, w := range warnings {
		fmt.Fprintf(c.stderr, "sidecast: warning: %v\n", w)
	}
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, nil, err
	}
	s, more := translate(cfg)
	more = slices.DeleteFunc(more, func(f config.Fault) bool {
		return slices.ContainsFunc(faults, func(said config.Fault) bool { return said.Name == f.Name })
	})
	return cfg, s, append(faults, more...).Err()
}

// settings are those of Config that the relay has types of its own for.
type settings struct {
	access  *access.Rules
	origins *auth.Origins
	proxies auth.Proxies
	server  source.Server
	keys    *auth.Keys // nil where there are no tokens

	certificate *server.Certificate // nil where there is no TLS

	streamLength int // to which a stream is trimmed when something is added to it here
}

// translate turns settings into the relay's words.
func translate(cfg *config.Config) (*settings, config.Faults) {
	var faults config.Faults
	patterns := func(name string, list config.List) access.Patterns {
		patterns, err := access.ParsePatterns(list)
		if err != nil {
			faults.Add(name, err.Error(), "write Redis globs, as in PSUBSCRIBE")
		}
		return patterns
	}
	durable := patterns("DURABLE_CHANNELS", cfg.DurableChannels)
	s := &settings{
		access: &access.Rules{
			Names:    access.NewNames(cfg.ChannelPrefix, cfg.KeyPrefix),
			Channels: slices.Concat(durable, patterns("CHANNELS", cfg.Channels)),
			Durable:  durable,
			Public:   patterns("PUBLIC_CHANNELS", cfg.PublicChannels),
			Publish:  patterns("PUBLISH_CHANNELS", cfg.PublishChannels),
			Login:    cfg.HasLogin(),
		},
		proxies:      auth.NewProxies(cfg.TrustedProxies),
		streamLength: int(cfg.DurableLength),
	}
	if cfg.RedisURL.IsSet() {
		var err error
		if s.server, err = redisServer(cfg); err != nil {
			faults.Add("REDIS_URL", err.Error(), map[source.Mode]string{
				source.Standalone: "write it like redis://user:password@host:6379",
				source.Sentinel:   "write it like redis://sentinel-1:26379?addr=sentinel-2:26379&master_name=mymaster",
				source.Cluster:    "write it like redis://user:password@node-1:6379?addr=node-2:6379",
			}[s.server.Mode])
		}
	}
	s.keys = keys(cfg, &faults)
	for name, other := range map[string]string{"TLS_CERT": "TLS_KEY", "TLS_KEY": "TLS_CERT"} {
		if cfg.IsSet(name) && !cfg.IsSet(other) {
			faults.Add(other, "is unset, but SIDECAST_"+name+" is set", "set both, or none")
		}
	}
	for _, channel := range cfg.UserChannels {
		if name := strings.ReplaceAll(channel, "{user}", "1"); !access.ValidChannel(name) || s.access.Names.Reserved(name) {
			faults.Add("USER_CHANNELS", fmt.Sprintf("%q is not a name that a channel can have", channel), "write names like user:{user}")
		}
	}
	if len(faults) == 0 && len(s.access.Channels) > 0 && len(cfg.PublicChannels) > 0 && !cfg.HasLogin() {
		for _, channel := range cfg.DefaultChannels {
			if s.access.Subscribe(nil, channel) != protocol.CodeOK {
				faults.Add("DEFAULT_CHANNELS", fmt.Sprintf("%q is not open to everybody", channel),
					"set it to channels that match SIDECAST_CHANNELS and SIDECAST_PUBLIC_CHANNELS")
			}
		}
	}
	origins, err := auth.NewOrigins(auth.OriginsConfig{
		Allowed: cfg.AllowedOrigins, Embedded: cfg.IsEmbedded(), Proxies: s.proxies,
	})
	if err != nil {
		faults.Add("ALLOWED_ORIGINS", err.Error(), "list the origins of your pages")
	}
	s.origins = origins
	return s, faults
}

// keys finds what verifies tokens.
func keys(cfg *config.Config, faults *config.Faults) *auth.Keys {
	var keys *auth.Keys
	var err error
	name := "JWT_SECRET"
	switch {
	case cfg.JWTSecret.IsSet() && cfg.JWTPreviousSecret.IsSet():
		keys = auth.SecretKeys(cfg.JWTSecret.Reveal(), cfg.JWTPreviousSecret.Reveal())
	case cfg.JWTSecret.IsSet():
		keys = auth.SecretKeys(cfg.JWTSecret.Reveal())
	case cfg.JWTPublicKey.IsSet():
		name = "JWT_PUBLIC_KEY"
		keys, err = auth.PublicKey([]byte(cfg.JWTPublicKey.PEM()))
	case cfg.JWTJwksURL != "":
		name = "JWT_JWKS_URL"
		keys, err = auth.JWKS(string(cfg.JWTJwksURL))
	}
	if err != nil {
		faults.Add(name, err.Error(), "write an RSA key of 2048 bits or more, one of the curve P-256, or Ed25519")
		return nil
	}
	if keys != nil && len(cfg.JWTAlgorithms) > 0 {
		served := keys.Algorithms()
		if foreign := keys.Restrict(cfg.JWTAlgorithms); len(foreign) > 0 {
			faults.Add("JWT_ALGORITHMS", strings.Join(foreign, " and ")+" cannot be verified by SIDECAST_"+name,
				"write some of "+strings.Join(served, ", "))
		}
	}
	return keys
}

// redisServer says where the configured Redis is.
func redisServer(cfg *config.Config) (source.Server, error) {
	mode, err := source.ParseMode(string(cfg.RedisMode))
	if err != nil {
		return source.Server{}, nil // the setting was refused already
	}
	s, err := source.ParseURL(cfg.RedisURL.Reveal(), mode)
	if err != nil {
		return source.Server{Mode: mode}, err
	}
	s.Protocol = int(cfg.RedisProtocol)
	s.Username = cmp.Or(cfg.RedisUsername, s.Username)
	if cfg.RedisPassword.IsSet() {
		s.Password = cfg.RedisPassword.Reveal()
	}
	if cfg.FromFile("REDIS_PASSWORD") {
		username := s.Username
		s.Credentials = func() (string, string, error) {
			password, err := cfg.Reread("REDIS_PASSWORD")
			return username, password, err
		}
	}
	s.SentinelUsername, s.SentinelPassword = cfg.RedisSentinelUsername, cfg.RedisSentinelPassword.Reveal()
	if cfg.RedisCA == "" {
		return s, nil
	}
	pem, err := os.ReadFile(string(cfg.RedisCA))
	if err != nil {
		return source.Server{Mode: mode}, fmt.Errorf("reading SIDECAST_REDIS_CA: %w", err)
	}
	return s, s.TrustCA(pem)
}

// logger logs as the settings say.
func (c *cli) logger(cfg *config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String()) // not a number of nanoseconds
		}
		return a
	}}
	if cfg.LogFormat == "json" || cfg.LogFormat == "auto" && !isTerminal(c.stderr) {
		return slog.New(slog.NewJSONHandler(c.stderr, options))
	}
	return slog.New(slog.NewTextHandler(c.stderr, options))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// serve runs the relay until ctx ends.
func (c *cli) serve(ctx context.Context) error {
	cfg, s, err := c.load()
	if err != nil {
		return err
	}
	logger := c.logger(cfg)
	if cfg.TLSCert != "" {
		if s.certificate, err = server.LoadCertificate(string(cfg.TLSCert), string(cfg.TLSKey), logger); err != nil {
			var faults config.Faults
			faults.Add("TLS_KEY", err.Error(), "name the key that belongs to SIDECAST_TLS_CERT")
			return faults.Err()
		}
	}
	if limit := server.TuneMemory(); limit > 0 {
		logger.Debug("memory limit set", "bytes", limit)
	}
	public, private, err := listen(cfg, logger)
	if err != nil {
		return err
	}
	redisAddr, closeRedis, err := c.embed(cfg, s, public, private, logger)
	if err != nil {
		return err
	}
	defer closeRedis()
	stats := new(stats.Stats)
	gate := newGate(cfg, s, stats, logger)
	r, err := assemble(cfg, s, gate, stats, logger)
	if err != nil {
		return err
	}
	srv := server.New(r.serverConfig(cfg, s, gate, public, private, redisAddr))
	logger.Info("listening", "addr", public.Addr().String())
	logger.Info("admin listening", "addr", private.Addr().String())

	// The relay outlives its clients: the server drains before hub and source stop.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	group, running := errgroup.WithContext(inner)
	group.Go(func() error { return r.hub.Run(running) })
	group.Go(func() error { return r.link.Run(running) })
	group.Go(func() error { return gate.Run(running) })
	group.Go(func() error {
		defer stop()
		serving, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(running, func() { cancel(nil) })()
		return srv.Run(serving)
	})
	return group.Wait()
}

// listen binds both listeners, so that a busy port is told before anything starts.
func listen(cfg *config.Config, logger *slog.Logger) (public, private net.Listener, err error) {
	bind := func(name, addr string) (net.Listener, error) {
		l, err := ws.Listen(context.Background(), addr)
		if err != nil {
			return nil, fmt.Errorf("listening on %s: %w; set SIDECAST_%s to another address", addr, err, name)
		}
		return l, nil
	}
	if public, err = bind("LISTEN", string(cfg.Listen)); err != nil {
		return nil, nil, err
	}
	private, err = bind("ADMIN_LISTEN", string(cfg.AdminListen))
	if err != nil && cfg.IsEmbedded() && !cfg.IsSet("ADMIN_LISTEN") {
		logger.Warn("the admin port is taken; using another", "taken", string(cfg.AdminListen))
		private, err = bind("ADMIN_LISTEN", "127.0.0.1:0")
	}
	if err != nil {
		return nil, nil, errors.Join(err, public.Close())
	}
	return public, private, nil
}

// embed starts the Redis in memory, where one is wanted, and says so loudly.
func (c *cli) embed(cfg *config.Config, s *settings, public, private net.Listener, logger *slog.Logger) (string, func(), error) {
	if !cfg.IsEmbedded() {
		return "", func() {}, nil
	}
	db, err := embedded.Start(embedded.DefaultAddr, logger)
	if err != nil {
		return "", nil, fmt.Errorf("starting the Redis in memory: %w", err)
	}
	s.server = source.Server{Address: db.Addr(), Protocol: int(cfg.RedisProtocol)}
	forget, err := embedded.WriteAddresses(embedded.Addresses{
		Redis: db.Addr(), Relay: command.Reachable(public.Addr().String()) + string(cfg.BasePath), Admin: private.Addr().String(), PID: os.Getpid(),
	})
	if err != nil {
		logger.Warn("other commands will not find this relay", "err", err)
		forget = func() {}
	}
	if notice := db.Notice(); notice != "" {
		fmt.Fprintln(c.stderr, notice)
	}
	opened := ""
	if cfg.IsSet("LISTEN") && !isLoopback(public.Addr()) {
		opened = string(cfg.Listen)
	}
	command.Banner(c.stderr, "http://"+command.Reachable(public.Addr().String())+string(cfg.BasePath)+"/", db.Addr(), opened)
	return db.Addr(), func() { forget(); db.Close() }, nil
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// newGate makes what finds out who clients are.
func newGate(cfg *config.Config, s *settings, stats *stats.Stats, logger *slog.Logger) *auth.Gate {
	c := auth.GateConfig{Cookie: string(cfg.JWTCookie)}
	grants := auth.Grants{UserChannels: cfg.UserChannels}
	if s.keys != nil {
		c.Tokens = auth.NewTokens(auth.TokensConfig{
			Keys: s.keys, Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience, Grants: grants, Logger: logger,
		})
	}
	if cfg.AuthURL != "" || cfg.ChannelAuthURL != "" {
		c.Application = auth.NewApplication(auth.ApplicationConfig{
			LoginURL: string(cfg.AuthURL), ChannelURL: string(cfg.ChannelAuthURL), Timeout: time.Duration(cfg.AuthTimeout),
			Cache: time.Duration(cfg.AuthCache), Concurrency: int(cfg.AuthConcurrency),
			Grants: grants, Proxies: s.proxies, Stats: stats, Logger: logger,
		})
	}
	return auth.NewGate(c)
}

// A core is the relay without its listeners.
type core struct {
	stats  *stats.Stats
	budget *outbox.Budget
	slots  *relay.Slots
	hub    *relay.Hub
	link   *source.Link
	logger *slog.Logger
}

// assemble makes the parts that messages flow through: link, hub, outboxes.
func assemble(cfg *config.Config, s *settings, gate *auth.Gate, stats *stats.Stats, logger *slog.Logger) (*core, error) {
	connections, _ := server.DefaultConnections()
	r := &core{stats: stats, slots: relay.NewSlots(cfg.MaxConnections.Or(connections)), logger: logger}
	r.budget = outbox.NewBudget(cfg.OutboxBytes.Int(), cfg.OutboxTotalBytes.Int(), time.Duration(cfg.WriteTimeout), r.stats)
	r.hub = relay.NewHub(relay.HubConfig{
		Access: s.access, Budget: r.budget, Protocols: protocol.All(), Stats: r.stats, Logger: logger,
		Publish: func(ctx context.Context, channel string, payload []byte) (int64, error) {
			return r.link.Publish(ctx, channel, payload)
		},
		Streams:      func() stream.Store { return r.link.Streams() },
		CatchUp:      func(ctx context.Context) error { return r.link.CatchUp(ctx) },
		HistoryBytes: cfg.HistoryBytes.Int(), HistoryAge: time.Duration(cfg.HistoryAge),
		MaxChannels: int(cfg.MaxChannelsPerSession), MaxPayload: cfg.MaxPayloadBytes.Int(),
		CommandRate: float64(cfg.CommandRate), CommandBurst: cfg.CommandRate.Burst(),
		PingInterval: time.Duration(cfg.PingInterval), PongTimeout: time.Duration(cfg.PongTimeout),
		Verify: gate.Verifier(), WrapPublished: cfg.PublishFormat == config.FormatJSON,
	})
	link, err := source.New(source.Config{
		Server: s.server, Names: s.access.Names, Patterns: s.access.Channels, Durable: s.access.Durable, MaxPayload: cfg.MaxPayloadBytes.Int(),
		StreamLength: s.streamLength, MarkersOff: cfg.Markers == config.False, Embedded: cfg.IsEmbedded(), Stats: r.stats, Logger: logger,
	}, r.hub)
	if err != nil {
		return nil, fmt.Errorf("setting up the link to Redis: %w", err)
	}
	r.link = link
	return r, nil
}

func (r *core) serverConfig(cfg *config.Config, s *settings, gate *auth.Gate, public, private net.Listener, redisAddr string) server.Config {
	handler := ws.New(ws.Config{
		Hub: r.hub, Budget: r.budget, Slots: r.slots, Stats: r.stats, Logger: r.logger,
		Protocols: map[string]protocol.Protocol{
			"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
		},
		Listened: true, MaxInbound: cfg.MaxInboundBytes.Int(), DefaultChannels: cfg.DefaultChannels,
		Identify: gate.Identify, Limited: s.proxies.Limited,
		Addresses: relay.NewAddresses(int(cfg.MaxConnectionsPerIP), int(cfg.MaxConnectRatePerIP)),
		Remote:    func(r *http.Request) string { return s.proxies.Client(r).String() },
	})
	c := server.Config{
		Public: public, Admin: private, Hub: r.hub, WS: handler, Origins: s.origins, Proxies: s.proxies, Stats: r.stats, Logger: r.logger,
		BasePath: string(cfg.BasePath), Ready: r.link.Ready, Up: r.link.Up, ReadyNeedsRedis: bool(cfg.ReadyNeedsRedis),
		DrainDelay: time.Duration(cfg.DrainDelay), DrainTimeout: time.Duration(cfg.DrainTimeout),
		AdminHandler: func(ready, live http.Handler) http.Handler {
			number, revision := buildVersion()
			return admin.Handler(admin.Config{
				Registry: admin.NewRegistry(r.stats, admin.Gauges{OutboxBytes: r.budget.Used, HistoryBytes: r.hub.HistoryBytes}, number, revision),
				Token:    cfg.AdminToken.Reveal(), Loopback: isLoopback(private.Addr()), Ready: ready, Live: live,
			})
		},
	}
	if s.certificate != nil {
		c.TLS = s.certificate.Config()
	}
	if cfg.Demo {
		c.Demo = web.Demo(web.Page{RedisAddr: redisAddr})
	}
	return c
}

// redis returns a client for the commands: the configured Redis, or that of the relay that runs embedded.
func (c *cli) redis() (redis.UniversalClient, *settings, error) {
	cfg, s, err := c.load()
	if err != nil {
		return nil, nil, err
	}
	if cfg.IsEmbedded() {
		running, err := embedded.ReadAddresses()
		if err != nil {
			return nil, nil, err
		}
		s.server = source.Server{Address: running.Redis, Protocol: int(cfg.RedisProtocol)}
	}
	client, err := source.NewClient(s.server, s.access.Names)
	return client, s, err
}

func (c *cli) publish(ctx context.Context) error {
	if len(c.args) != 2 {
		return usageError("usage: sidecast publish CHANNEL PAYLOAD")
	}
	payload := []byte(c.args[1])
	if c.args[1] == "-" {
		var err error
		if payload, err = io.ReadAll(c.stdin); err != nil {
			return fmt.Errorf("reading standard input: %w", err)
		}
	}
	client, s, err := c.redis()
	if err != nil {
		return err
	}
	defer client.Close()
	if s.access.Durable.Match(c.args[0]) {
		streams := source.NewStreams(client, source.Config{Names: s.access.Names, StreamLength: s.streamLength})
		return command.Append(ctx, streams, s.access.Names, c.args[0], payload, c.stdout)
	}
	return command.Publish(ctx, client, s.access.Names, c.args[0], payload, c.stdout)
}

func (c *cli) tail(ctx context.Context) error {
	const usage = "usage: sidecast tail [--url ws://host/ws] [--token-file FILE] CHANNEL..."
	flags := flag.NewFlagSet("tail", flag.ContinueOnError)
	target, tokenFile := flags.String("url", "", ""), flags.String("token-file", "", "")
	channels, err := c.parse(flags, usage)
	if err != nil {
		return err
	}
	if len(channels) == 0 {
		return usageError(usage)
	}
	if *target == "" {
		cfg, _, err := c.load()
		if err != nil {
			return err
		}
		host := command.Reachable(string(cfg.Listen)) + string(cfg.BasePath)
		if cfg.IsEmbedded() {
			running, err := embedded.ReadAddresses()
			if err != nil {
				return err
			}
			host = running.Relay
		}
		*target = "ws://" + host + "/ws"
		if cfg.TLSCert != "" {
			*target = "wss://" + host + "/ws"
		}
	}
	if u, err := url.Parse(*target); err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return usageError(fmt.Sprintf("--url %q: write it like ws://host:8080/ws, or wss:// for TLS", *target))
	}
	return command.Tail(ctx, command.TailConfig{
		URL: *target, Token: command.TokenFrom(*tokenFile, c.stdin), Channels: channels, Out: c.stdout, Notes: c.stderr,
	})
}

// parse reads the options, wherever they stand among the arguments, and returns the other arguments.
func (c *cli) parse(flags *flag.FlagSet, usage string) (others []string, err error) {
	flags.SetOutput(io.Discard)
	for rest := c.args; ; {
		if err := flags.Parse(rest); err != nil {
			return nil, usageError(fmt.Sprintf("%v; %s", err, usage))
		}
		if flags.NArg() == 0 {
			return others, nil
		}
		others, rest = append(others, flags.Arg(0)), flags.Args()[1:]
	}
}

// token prints a token that the relay with these settings takes.
func (c *cli) token(context.Context) error {
	const usage = "usage: sidecast token --user 42 --channel 'chat:*' [--publish PATTERN] [--subscribe CHANNEL] [--ttl 1h]"
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	var mint auth.MintConfig
	list := func(name string, to *[]string) {
		flags.Func(name, "", func(value string) error { *to = append(*to, value); return nil })
	}
	flags.StringVar(&mint.User, "user", "", "")
	list("channel", &mint.Channels)
	list("publish", &mint.Publish)
	list("subscribe", &mint.Subscribe)
	flags.DurationVar(&mint.TTL, "ttl", time.Hour, "")
	others, err := c.parse(flags, usage)
	if err != nil {
		return err
	}
	if len(others) > 0 || mint.User == "" {
		return usageError(usage)
	}
	cfg, s, err := c.load()
	if err != nil {
		return err
	}
	if !cfg.JWTSecret.IsSet() {
		return usageError("tokens are made with SIDECAST_JWT_SECRET, which is unset: set it here as for the relay")
	}
	mint.Secret, mint.Algorithm = cfg.JWTSecret.Reveal(), s.keys.Algorithms()[0]
	mint.Issuer, mint.Audience = cfg.JWTIssuer, cfg.JWTAudience
	token, err := auth.Mint(mint)
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	_, err = fmt.Fprintln(c.stdout, token)
	return err
}

func (c *cli) config(context.Context) error {
	cfg, _, err := c.load()
	if cfg != nil {
		err = errors.Join(cfg.Print(c.stdout), err)
	}
	return err
}

func (c *cli) check(ctx context.Context) error {
	cfg, s, err := c.load()
	if err != nil {
		return err
	}
	connections, files := server.DefaultConnections()
	findings := []source.Finding{command.FileLimit(cfg.MaxConnections.Or(connections), files)}
	if cfg.IsEmbedded() {
		findings = append(findings, source.Finding{
			Subject: "server", Text: "a Redis in memory, for development: set SIDECAST_REDIS_URL to check yours",
		})
	} else {
		findings = append(findings, source.Check(ctx, source.Config{
			Server: s.server, Names: s.access.Names, Patterns: s.access.Channels, Durable: s.access.Durable,
			MaxPayload: cfg.MaxPayloadBytes.Int(), MarkersOff: cfg.Markers == config.False,
		})...)
	}
	findings = append(findings, command.CheckApplication(ctx, auth.ApplicationConfig{
		LoginURL: string(cfg.AuthURL), ChannelURL: string(cfg.ChannelAuthURL), Timeout: time.Duration(cfg.AuthTimeout),
	})...)
	return command.Report(c.stdout, findings)
}

func (c *cli) healthcheck(ctx context.Context) error {
	cfg, _, err := c.load()
	if err != nil {
		return err
	}
	addr := string(cfg.AdminListen)
	if cfg.IsEmbedded() && !cfg.IsSet("ADMIN_LISTEN") {
		running, err := embedded.ReadAddresses()
		if err != nil {
			return err
		}
		addr = running.Admin
	}
	return command.Healthcheck(ctx, addr)
}
