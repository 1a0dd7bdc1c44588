package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"
)

// Each test of this file shows a property of envconfig v1.4.0, and then how
// Load handles it. If the first half of a test fails, envconfig has changed,
// and the code that works around the property can be removed.

// envconfig stops at the first error.
func TestEnvconfigStopsAtTheFirstError(t *testing.T) {
	setenv(t, env("A=x", "B=y", "WRITE_TIMEOUT=5", "PING_INTERVAL=6", "LOG_LEVEL=loud"))
	var spec struct{ A, B int }
	err := envconfig.Process(envPrefix, &spec)
	if err == nil || strings.Contains(err.Error(), Prefix+"B") {
		t.Errorf("envconfig returns %v", err)
	}
	_, _, err = Load()
	for _, name := range []string{"WRITE_TIMEOUT", "PING_INTERVAL", "LOG_LEVEL"} {
		if err == nil || !strings.Contains(err.Error(), Prefix+name) {
			t.Errorf("Load does not report %s: %v", name, err)
		}
	}
}

// An error of envconfig repeats the value, and its ParseError has no method
// Unwrap.
func TestEnvconfigPrintsTheValue(t *testing.T) {
	setenv(t, env("REDIS_URL=http://u:"+canary+"@redis"))
	var spec struct {
		RedisURL RedisURL `split_words:"true"`
	}
	if err := envconfig.Process(envPrefix, &spec); err == nil || !leaks(err.Error()) {
		t.Errorf("envconfig returns %v", err)
	}
	if _, _, err := Load(); err == nil || leaks(err.Error()) {
		t.Errorf("Load returns %v", err)
	}
}

// envconfig treats an empty string as a value, which satisfies `required` and
// overrides the default.
func TestEnvconfigTakesEmptyForSet(t *testing.T) {
	setenv(t, env("CHANNELS=", "KEY_PREFIX="))
	var spec struct {
		Channels  string `required:"true"`
		KeyPrefix string `split_words:"true" default:"sidecast:"`
	}
	if err := envconfig.Process(envPrefix, &spec); err != nil || spec.KeyPrefix != "" {
		t.Errorf("envconfig returns %v and reads %q", err, spec.KeyPrefix)
	}
	if faults := faultsOf(t, env("CHANNELS=", "KEY_PREFIX=")); len(faults) != 2 {
		t.Errorf("Load returns %v", faults)
	}
}

// envconfig does not trim the items of a list and keeps empty ones.
func TestEnvconfigDoesNotTrimLists(t *testing.T) {
	setenv(t, env("CHANNELS=a, b,,c"))
	var spec struct{ Channels []string }
	if err := envconfig.Process(envPrefix, &spec); err != nil || !slices.Equal(spec.Channels, []string{"a", " b", "", "c"}) {
		t.Errorf("envconfig returns %v and reads %q", err, spec.Channels)
	}
	if c := mustLoad(t, env("CHANNELS=a, b,,c", "DEFAULT_CHANNELS=a")); c.Channels.String() != "a,b,c" {
		t.Errorf("Load reads %q", c.Channels)
	}
}

// envconfig reads the variable without the prefix if the field has the tag
// `envconfig`, and only then.
func TestEnvconfigFallsBackToTheBareName(t *testing.T) {
	setenv(t, nil)
	t.Setenv("REDIS_URL", "redis://application")
	var named struct {
		RedisURL string `envconfig:"REDIS_URL"`
	}
	var split struct {
		RedisURL string `split_words:"true"`
	}
	if err := envconfig.Process(envPrefix, &named); err != nil || named.RedisURL != "redis://application" {
		t.Errorf("envconfig returns %v and reads %q", err, named.RedisURL)
	}
	if err := envconfig.Process(envPrefix, &split); err != nil || split.RedisURL != "" {
		t.Errorf("with split_words envconfig returns %v and reads %q", err, split.RedisURL)
	}
	if c, _, err := Load(); err != nil || c.RedisURL.IsSet() {
		t.Errorf("Load returns %v and reads %v", err, c.RedisURL)
	}
}

// CheckDisallowed of envconfig reports only one variable, and reports service
// links as misspelt settings.
func TestEnvconfigDisallowsServiceLinks(t *testing.T) {
	links := env("SERVICE_HOST=10.0.0.1", "PORT=tcp://10.0.0.1:80")
	setenv(t, links)
	if err := envconfig.CheckDisallowed(envPrefix, new(Config)); err == nil {
		t.Error("envconfig does not report a service link")
	}
	if got := warningsOf(t, links); got != "" {
		t.Errorf("Load warns: %s", got)
	}
}

// envconfig reads numbers like Go source code: 010 is eight.
func TestEnvconfigReadsOctal(t *testing.T) {
	setenv(t, env("N=010"))
	var spec struct{ N int }
	if err := envconfig.Process(envPrefix, &spec); err != nil || spec.N != 8 {
		t.Errorf("envconfig returns %v and reads %d", err, spec.N)
	}
	if c := mustLoad(t, env("COMMAND_RATE=010")); c.CommandRate != 10 {
		t.Errorf("Load reads %d", c.CommandRate)
	}
}

// envconfig can also read the whole Config at once, because Config uses
// envconfig's tags.
func TestConfigIsAnEnvconfigSpecification(t *testing.T) {
	setenv(t, env(realRedis...))
	var c Config
	if err := envconfig.Process(envPrefix, &c); err != nil {
		t.Fatal(err)
	}
	loaded := mustLoad(t, env(realRedis...))
	for i, s := range c.Effective() {
		if got := loaded.Effective()[i]; got.Value != s.Value {
			t.Errorf("%s: %q, and %q by Load", s.Name, s.Value, got.Value)
		}
	}
}
