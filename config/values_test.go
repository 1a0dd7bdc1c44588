package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"testing"

	"github.com/kelseyhightower/envconfig"

	"sidecast/relay/syntax"
)

// TestValues shows the forms that the types accept, and the form in which they
// are written.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		comment string
		into    envconfig.Decoder
		value   string
		want    string // the value, written
	}{
		{"items are trimmed, empty items are ignored", new(List), " a , b,,c ,", "a,b,c"},
		{"an item keeps its inner spaces", new(List), "a b", "a b"},
		{"several units", new(Duration), "1h30m", "1h30m"},
		{"whole minutes", new(Duration), "120s", "2m"},
		{"whole hours", new(Duration), "60m", "1h"},
		{"ten minutes keep their zero", new(Duration), "10m", "10m"},
		{"ten seconds keep their zero", new(Duration), "10s", "10s"},
		{"zero needs no unit", new(Duration), "0", "0s"},
		{"less than a second", new(Duration), "250ms", "250ms"},
		{"plain bytes", new(Size), "1000", "1000"},
		{"bytes that are a whole unit", new(Size), "2097152", "2MiB"},
		{"space before the unit", new(Size), "64 MiB", "64MiB"},
		{"a larger unit", new(Size), "1024MiB", "1GiB"},
		{"zero", new(Size), "0", "0"},
		{"leading zeros do not make an octal number", new(Count), "010", "10"},
		{"in any case", new(AutoCount), "AUTO", "auto"},
		{"a count", new(AutoCount), "50000", "50000"},
		{"in any case", new(Decision), "True", "true"},
		{"a form of ParseBool", new(Decision), "0", "false"},
		{"in any case", new(Decision), "Auto", "auto"},
		{"a form of ParseBool", new(Switch), "1", "true"},
		{"in any case", new(Switch), "FALSE", "false"},
		{"in any case", new(Level), "WARN", "warn"},
		{"any free port", new(Address), "localhost:0", "localhost:0"},
		{"IPv6", new(Address), "[::1]:8080", "[::1]:8080"},
		{"the normal form of origins", new(OriginList), "HTTPS://A.Example, https://*.Example.com", "https://a.example,https://*.example.com"},
		{"patterns", new(PatternList), " chat:* ,news", "chat:*,news"},
		{"kinds of events", new(EventList), "left, joined", "left,joined"},
		{"no events", new(EventList), "none", "none"},
		{"newest messages", new(LastList), " price:*=1 , a=b=010,x=0", "price:*=1,a=b=10,x=0"},
		{"an IPv4 address in IPv6", new(NetworkList), "::ffff:10.0.0.1", "10.0.0.1"},
		{"IPv6", new(NetworkList), "fd00::/8, ::1", "fd00::/8,::1"},
	} {
		for _, value := range []string{tt.value, " \t" + tt.value + "\r\n"} {
			if err := tt.into.Decode(value); err != nil {
				t.Errorf("%s: %T from %q: %v", tt.comment, tt.into, value, err)
				continue
			}
			if got := fmt.Sprint(reflect.ValueOf(tt.into).Elem().Interface()); got != tt.want {
				t.Errorf("%s: %T from %q is written %q, want %q", tt.comment, tt.into, value, got, tt.want)
			}
		}
	}
}

func TestSizeSuggestions(t *testing.T) {
	for value, want := range map[string]string{
		"64MB": "write 64MiB", "64mb": "write 64MiB", "64M": "write 64MiB", "64Mi": "write 64MiB", "64mib": "write 64MiB",
		"2gb": "write 2GiB", "1T": "write 1TiB", "16k": "write 16KiB", "100B": "write 100",
	} {
		err, ok := errors.AsType[*syntax.Error](new(Size).Decode(value))
		if !ok || err.Hint != want {
			t.Errorf("%s: %v, want %s", value, err, want)
		}
	}
	for _, value := range []string{"", "MiB", "-1", "1e6", "0x10", "1_000", "64 M B", "9223372036854775808", "8388608TiB"} {
		if err := new(Size).Decode(value); err == nil {
			t.Errorf("%q is accepted as a size", value)
		}
	}
}

func TestNumberMethods(t *testing.T) {
	if got := AutoCount(0).Or(7); got != 7 {
		t.Errorf("auto or 7 = %d", got)
	}
	if got := AutoCount(3).Or(7); got != 3 {
		t.Errorf("3 or 7 = %d", got)
	}
	for rate, want := range map[Rate]int{1: 3, 2: 5, 3: 8, 20: 50, 10000: 25000} {
		if got := rate.Burst(); got != want {
			t.Errorf("burst of %d = %d, want %d", rate, got, want)
		}
	}
	if got := Size(1 << 40).Int(); got != 1<<40 && got != math.MaxInt {
		t.Errorf("1TiB as an int = %d", got)
	}
	var leveler slog.Leveler = Level(slog.LevelWarn)
	if leveler.Level() != slog.LevelWarn {
		t.Errorf("level %v", leveler.Level())
	}
}

// FuzzValues checks that a value that is written is read as an equal value,
// because users copy the output of `sidecast config`.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"", "auto", "true", "5", "5s", "1h", "64MiB", "64MB", "a,b", "*", ":8080", "[::1]:80", "/live",
		"https://a.example:443", "https://*.example.com", "HTTP://A", "10.0.0.0/8", "::ffff:1.2.3.4", "info", "DEBUG-3", "9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, into := range []reflect.Type{
			reflect.TypeFor[List](), reflect.TypeFor[Duration](), reflect.TypeFor[Size](), reflect.TypeFor[Count](),
			reflect.TypeFor[AutoCount](), reflect.TypeFor[Rate](), reflect.TypeFor[Decision](), reflect.TypeFor[Switch](),
			reflect.TypeFor[Address](), reflect.TypeFor[Path](), reflect.TypeFor[Level](),
			reflect.TypeFor[OriginList](), reflect.TypeFor[NetworkList](), reflect.TypeFor[PatternList](),
		} {
			first, second := reflect.New(into), reflect.New(into)
			if first.Interface().(envconfig.Decoder).Decode(value) != nil {
				continue
			}
			written := fmt.Sprint(first.Elem().Interface())
			if err := second.Interface().(envconfig.Decoder).Decode(written); err != nil {
				t.Errorf("%v from %q is written %q, which is rejected: %v", into, value, written, err)
			} else if !reflect.DeepEqual(first.Interface(), second.Interface()) {
				t.Errorf("%v from %q is written %q, which is a different value", into, value, written)
			}
		}
	})
}
