package source_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// report formats findings as `level subject: text; do`.
func report(findings []source.Finding) []string {
	var lines []string
	for _, f := range findings {
		line := fmt.Sprintf("%v %s: %s", f.Level, f.Subject, f.Text)
		if f.Do != "" {
			line += "; " + f.Do
		}
		lines = append(lines, line)
	}
	return lines
}

// expectFindings checks that each wanted line begins a finding, in order, and
// that there are no others.
func expectFindings(t *testing.T, got []source.Finding, want ...string) {
	t.Helper()
	lines := report(got)
	ok := slices.EqualFunc(lines, want, strings.HasPrefix)
	if !ok {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	for _, f := range got {
		if (f.Do == "") != (f.Level == source.LevelOK) {
			t.Errorf("%s: %v, but Do is %q", f.Subject, f.Level, f.Do)
		}
	}
}

func checkConfig(addr string, patterns []string, changes ...func(*source.Config)) source.Config {
	list, _ := access.ParsePatterns(patterns)
	cfg := source.Config{Server: source.Server{Address: addr}, Names: access.NewNames("", ""), Patterns: list}
	for _, change := range changes {
		change(&cfg)
	}
	return cfg
}

// limits are the subjects about the server's limits.
var limits = []string{"clock", "clients", "memory", "output buffer"}

// checkBut returns the findings but those about some subjects.
func checkBut(t *testing.T, subjects []string, cfg source.Config) []source.Finding {
	t.Helper()
	return slices.DeleteFunc(source.Check(t.Context(), cfg), func(f source.Finding) bool { return slices.Contains(subjects, f.Subject) })
}

func TestCheck(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	version := "ok version: Redis "
	all := []string{
		"ok server: " + server.Addr, version, "ok role: master", "ok pattern chat:*: the relay may", "ok receiving markers: allowed",
		"ok publishing markers: allowed", "ok other relays: none", "ok self-test: a message that was published to sidecast:check arrived after",
	}
	t.Run("all rights", func(t *testing.T) {
		expectFindings(t, checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"})), all...)
	})
	t.Run("RESP3", func(t *testing.T) {
		expectFindings(t, checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"}, protocol(3))), all...)
	})
	t.Run("the minimum rights", func(t *testing.T) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+publish", "+role", "+info")
		expectFindings(t, checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"}, user)), all...)
	})
	t.Run("almost no rights", func(t *testing.T) {
		user := aclUser(t, server, "&news", "-ping")
		expectFindings(t, checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*", "news"}, user)),
			"warn server: "+server.Addr+" answers, but refuses PING; grant +ping",
			"warn version: the server does not report its run_id", "warn role: ",
			"fail pattern chat:*: Redis refuses the subscription; grant it with ACL SETUSER <user> &chat:* (", "ok pattern news: ",
			"warn channel sidecast:control: Redis refuses the subscription: the relay ignores what the application does to connections; "+
				"grant +subscribe and &sidecast:control",
			"warn receiving markers: Redis refuses the subscription: the relay does not notice if Redis stops delivering; "+
				"grant +subscribe and &sidecast:mark", "warn self-test: not run, ")
	})
	t.Run("no right to publish", func(t *testing.T) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+role", "+pubsub")
		expectFindings(t, checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"}, user)),
			all[0], "warn version: ", all[2], all[3], all[4], "warn publishing markers: Redis refuses it: ", all[6], "warn self-test: not run, ")
	})
	t.Run("no right to subscribe", func(t *testing.T) {
		user := aclUser(t, server, "&chat:*", "&sidecast:*", "+role", "-psubscribe")
		got := checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"}, user, markersOff))
		expectFindings(t, got, all[0], "ok version: the server does not report its version", all[2],
			"fail pattern chat:*: Redis refuses the subscription; grant the command: ACL SETUSER <user> +psubscribe", "warn markers: switched off", "warn self-test: not run, ")
	})
	t.Run("wrong password", func(t *testing.T) {
		cfg := checkConfig(server.Addr, []string{"*"}, func(c *source.Config) {
			c.Server.Username, c.Server.Password = "x", "secret"
		})
		got := checkBut(t, limits, cfg)
		expectFindings(t, got, "fail server: user and password were refused (")
		if do := got[0].Do; !strings.HasPrefix(do, "check SIDECAST_REDIS_USERNAME") {
			t.Errorf("Do is %q", do)
		}
		if strings.Contains(fmt.Sprint(report(got)), "secret") {
			t.Error("the password is in a finding")
		}
	})
	t.Run("nothing listens", func(t *testing.T) {
		expectFindings(t, checkBut(t, limits, checkConfig(redistest.FreeAddr(t), []string{"*"})),
			"fail server: nothing listens at this address (")
	})
	t.Run("no address", func(t *testing.T) {
		expectFindings(t, checkBut(t, limits, checkConfig("", []string{"*"})), "fail server: the address")
	})
	t.Run("a replica", func(t *testing.T) {
		replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+server.Port())
		got := checkBut(t, limits, checkConfig(replica.Addr, []string{"*"}))
		if got[2].Level != source.LevelFail || got[2].Do != "point SIDECAST_REDIS_URL at the master" {
			t.Errorf("got %q", report(got))
		}
	})
}

// TestCheckLogins checks what an operator hears about the clocks and about the
// logins that the application has ended.
func TestCheckLogins(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	logins := func(c *source.Config) { c.Logins = true }
	const clock = "ok clock: the clocks of Redis and this machine agree"
	expect := func(why string, rights []string, want ...string) {
		t.Helper()
		changes := []func(*source.Config){logins}
		if rights != nil {
			changes = append(changes, aclUser(t, server, append(rights, "&chat:*", "&sidecast:*", "+publish", "+role", "+info")...))
		}
		var got []source.Finding
		for _, f := range source.Check(t.Context(), checkConfig(server.Addr, []string{"chat:*"}, changes...)) {
			if f.Subject == "clock" || f.Subject == "revocations" {
				got = append(got, f)
			}
		}
		t.Log(why)
		expectFindings(t, got, want...)
	}
	expect("all rights", nil, clock, "ok revocations: the relay has the rights that it needs")
	expect("the rights of the README", []string{"~sidecast:revoked", "+zrangebyscore", "+zremrangebyscore"},
		"ok clock: not compared: the server does not report its time", "ok revocations: the relay has the rights that it needs")
	expect("no right to the key", []string{"+zrangebyscore", "+time"}, clock,
		"warn revocations: Redis refuses to read them: logins that the application has ended stay valid; "+
			"grant ~sidecast:revoked +zrangebyscore +zremrangebyscore")
	const microseconds = "1700000000000000" // instead of milliseconds: more than a century ahead, which is the most that is said
	server.CLI("ZADD", "sidecast:revoked", "1", "user:1", "+inf", "user:2")
	expect("no entry is ahead", nil, clock, "ok revocations: ")
	server.CLI("ZADD", "sidecast:revoked", microseconds, "user:3")
	expect("one is ahead", nil, clock, "warn revocations: one is 876000h0m0s ahead of the clock of Redis, and its user cannot log in until then; "+
		"set the clocks of the application's servers")
	server.CLI("SET", "sidecast:revoked", "x")
	expect("another type", nil, clock, "warn revocations: sidecast:revoked is not a sorted set: ")
}

// TestCheckWhileSavingFails checks that the check does not condemn a server that
// cannot save its data: live channels work.
func TestCheckWhileSavingFails(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t)
		breakDisk(t, server)
		expectFindings(t, checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"}, useProtocol)),
			"warn server: "+server.Addr+" answers, but the server cannot save its data to disk, and refuses writes; live channels work all the same; ",
			"ok version: ", "ok role: master", "ok pattern chat:*: ", "ok receiving markers: ", "ok publishing markers: ",
			"ok other relays: ", "ok self-test: a message that was published to sidecast:check arrived")
	})
}

func TestCheckFindsOtherRelays(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, patterns := range [][]string{{"chat:*"}, {"chat:*"}, {"news"}} {
		startLive(t, server.Addr, patterns)
	}
	got := checkBut(t, limits, checkConfig(server.Addr, []string{"chat:*"}))
	expectFindings(t, got[6:],
		"warn other relays: 1 with different patterns or prefixes", "ok other relays: 2 with the same settings", "ok self-test: a message")
}

func TestCheckDoesNotHang(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	got := source.Check(ctx, checkConfig(server.Addr, []string{"*"}))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	expectFindings(t, got, "fail server: the server accepts the connection, but does not answer the login (")
	server.Cont()
}
