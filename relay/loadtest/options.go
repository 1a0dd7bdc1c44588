package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

// Options are what the command line says.
type options struct {
	url, redis string
	owned      bool
	protocol   string
	headers    lines

	clients     int
	connectRate float64
	handshakes  int
	connectFor  time.Duration
	reader      string
	poll        time.Duration

	channels int
	prefix   string

	rate   float64
	burst  int
	every  time.Duration
	size   size
	warmUp time.Duration
	length time.Duration
	grace  time.Duration

	slow     share
	slowRate size
	storm    time.Duration

	pid    int
	json   bool
	html   string
	strict bool
}

// Protocols that a client can speak.
const (
	protocolRaw = "raw"
	protocolV1  = "v1"
)

// Bounds of a run.
const (
	maxClients  = 1_000_000
	maxSize     = 8 << 20
	maxDuration = 24 * time.Hour
	maxRate     = 10_000_000
)

// errHelp is returned by parseOptions when the help was asked for, and printed.
var errHelp = flag.ErrHelp

// parseOptions reads the command line; an error says what is wrong with it.
func parseOptions(args []string, stdout io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("loadtest", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.define(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, helpHead)
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			fmt.Fprint(stdout, helpTail)
			return nil, errHelp
		}
		return nil, fmt.Errorf("%w; see -help", err)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not an option; all options begin with -, see -help", flags.Arg(0))
	}
	return o, o.validate()
}

func (o *options) define(f *flag.FlagSet) {
	f.StringVar(&o.url, "url", "ws://127.0.0.1:8080/ws", "`URL` of the relay")
	f.StringVar(&o.redis, "redis", "redis://127.0.0.1:6379", "`URL` of the Redis that it hears")
	f.BoolVar(&o.owned, "i-own-this-target", false, "allow targets that are not this machine")
	f.StringVar(&o.protocol, "protocol", protocolRaw, "what the clients speak: raw, or v1 for sidecast.v1")
	f.Var(&o.headers, "header", "`line` of HTTP for the handshake, like 'Origin: https://example.com'; repeatable")

	f.IntVar(&o.clients, "clients", 1000, "number of clients")
	f.Float64Var(&o.connectRate, "connect-rate", 0, "new connections a second; 0: as fast as -handshakes allows")
	f.IntVar(&o.handshakes, "handshakes", 500, "handshakes at once, in storms too")
	f.DurationVar(&o.connectFor, "connect-for", time.Minute, "longest time until all are connected")
	f.StringVar(&o.reader, "reader", defaultReader, "how clients read: "+readerNames)
	f.DurationVar(&o.poll, "poll", 0, "let epoll look only so often; with 1ms latencies grow by as much, but the relay does not pay for "+
		"waking this process, as it would not over a network")

	f.IntVar(&o.channels, "channels", 1, "number of channels; the clients are spread evenly over them")
	f.StringVar(&o.prefix, "prefix", "loadtest:", "begins the channels' names; a number follows")

	f.Float64Var(&o.rate, "rate", 10, "messages a second, evenly paced, on one channel after the other; 0: publish nothing")
	f.IntVar(&o.burst, "burst", 0, "messages at once, in place of -rate, on one channel after the other")
	f.DurationVar(&o.every, "every", time.Second, "time between bursts")
	o.size = 128
	f.Var(&o.size, "size", fmt.Sprintf("`bytes` of a payload, like 128 or 64KiB; at least %d", stampSize))
	f.DurationVar(&o.warmUp, "warm-up", time.Second, "publish for this long before measuring; checked all the same")
	f.DurationVar(&o.length, "for", 10*time.Second, "measure for this long")
	f.DurationVar(&o.grace, "grace", 3*time.Second, "at the end, give up on what is missing when nothing came for this long")

	f.Var(&o.slow, "slow", "`share` of the clients that is slow, like 10% or 25: they do not read until the end")
	f.Var(&o.slowRate, "slow-rate", "`bytes` a second that each of these reads")
	f.DurationVar(&o.storm, "storm", 0, "all clients drop and return at once, every so often; 0: never")

	f.IntVar(&o.pid, "pid", 0, "process id of the relay, to tell its CPU and memory (Linux)")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	f.StringVar(&o.html, "html", "", "write a report with charts to this `file`")
	f.BoolVar(&o.strict, "strict", false, "fail on gaps, offline notices and closes by the relay too")
}

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9:._~-]{0,100}$`)

// validate returns everything that is wrong, one line each.
func (o *options) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(o.protocol == protocolRaw || o.protocol == protocolV1, "-protocol %q: there are raw and v1", o.protocol)
	check(o.clients >= 1 && o.clients <= maxClients, "-clients: 1 to %d", maxClients)
	check(o.channels >= 1 && o.channels <= o.clients, "-channels: 1 to the number of clients, %d", o.clients)
	check(o.connectRate >= 0, "-connect-rate: not negative")
	check(o.handshakes >= 1 && o.handshakes <= 100_000, "-handshakes: 1 to 100000")
	check(validPrefix.MatchString(o.prefix), "-prefix: at most 100 letters, digits and : . _ ~ -")
	check(o.rate >= 0 && o.rate <= maxRate, "-rate: 0 to %d", maxRate)
	check(o.burst >= 0 && o.burst <= maxRate, "-burst: 0 to %d", maxRate)
	check(int(o.size) >= stampSize && o.size <= maxSize, "-size: %d to %d, for each payload carries what it is checked by", stampSize, maxSize)
	check(o.slow.of(o.clients) < o.clients, "-slow: leave at least one client that reads")
	check(o.slow != (share{}) || o.slowRate == 0, "-slow-rate: say with -slow how many are slow")
	check(o.storm == 0 || o.storm >= 100*time.Millisecond, "-storm: 0, or at least 100ms")
	check(o.pid == 0 || canMeasure, "-pid: processes are measured on Linux only")
	check(knownReader(o.reader), "-reader %q: there are %s", o.reader, readerNames)
	for _, d := range []struct {
		name     string
		value    time.Duration
		smallest time.Duration
	}{
		{"-for", o.length, time.Millisecond}, {"-warm-up", o.warmUp, 0}, {"-grace", o.grace, time.Millisecond},
		{"-connect-for", o.connectFor, time.Millisecond}, {"-every", o.every, time.Millisecond}, {"-storm", o.storm, 0},
	} {
		check(d.value >= d.smallest && d.value <= maxDuration, "%s: %v to %v", d.name, d.smallest, maxDuration)
	}
	check(o.poll >= 0 && o.poll <= time.Second, "-poll: 0 to 1s")
	check(o.poll == 0 || o.reader == readerEpoll, "-poll: only -reader epoll looks every so often")
	for _, line := range o.headers {
		check(validHeader(line), "-header %q: write it like 'Origin: https://example.com'", line)
	}
	check(canWrite(o.html), "-html %s: cannot be written", o.html)
	return errors.Join(faults...)
}

// canWrite reports whether a report can go to path, so that nobody waits for a run whose report is lost.
func canWrite(path string) bool {
	if path == "" {
		return true
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	return err == nil && f.Close() == nil
}

// checkFiles says what to do if this process may not open as many files as the clients need.
func (o *options) checkFiles() error {
	const others = 64
	need := uint64(o.clients + min(o.handshakes, o.clients) + others)
	now, hard := fileLimit()
	if need <= now {
		return nil
	}
	say := fmt.Sprintf("%d clients with %d handshakes at once need %d open files, and this process may have %d: ",
		o.clients, min(o.handshakes, o.clients), need, now)
	if need <= hard {
		return fmt.Errorf("%srun ulimit -n %d in this shell first", say, need)
	}
	return fmt.Errorf("%srun ulimit -n %d as root, or set a higher nofile in /etc/security/limits.conf, or use -clients %d; "+
		"the relay needs as many", say, need, max(int(now)-min(o.handshakes, o.clients)-others, 1))
}
