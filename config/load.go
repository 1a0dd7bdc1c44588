package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kelseyhightower/envconfig"
)

// maxSecretFile bounds a file with a secret, in bytes.
const maxSecretFile = 64 << 10

// Load reads the process environment, checks everything, and returns what it found, together with what is odd but no
// reason to stop.
//
// The error is nil or [Faults] with everything that is wrong. The Config is never nil: beside faults it is good only for
// finding more of them, and a setting that could not be read is zero there.
func Load() (*Config, []Warning, error) {
	c := &Config{set: make(map[string]bool), faulty: make(map[string]bool), files: make(map[string]string)}
	for _, s := range settings() {
		_, direct := os.LookupEnv(s.variable())
		_, file := os.LookupEnv(s.variable() + fileSuffix)
		if direct || file && s.secret {
			c.set[s.name] = true
		}
	}
	var faults Faults
	for _, s := range settings() {
		if err := c.read(s); err != nil {
			c.faulty[s.name] = true
			s.value(c).SetZero()
			faults.Add(s.name, err.problem, err.remedy)
		}
	}
	faults = append(faults, c.Validate()...)
	return c, append(c.warnings(), misspelt(os.Environ())...), faults.Err()
}

// read fills the field of one setting.
func (c *Config) read(s setting) *syntaxError {
	text, direct := os.LookupEnv(s.variable())
	file, fromFile := os.LookupEnv(s.variable() + fileSuffix)
	if s.secret && fromFile {
		if direct {
			return &syntaxError{"is set, and " + s.variable() + fileSuffix + " too", "unset one of them"}
		}
		return c.readFile(s, file)
	}
	if direct {
		if err := checkText(s, text); err != nil {
			return err
		}
	}
	spec := s.spec(c.IsEmbedded())
	if err := envconfig.Process(envPrefix, spec.Interface()); err != nil {
		return describe(s, err)
	}
	field := s.value(c)
	field.Set(spec.Elem().Field(0))
	if field.Kind() == reflect.String {
		field.SetString(strings.TrimSpace(field.String()))
	}
	return s.check(field)
}

// readFile fills the field of a secret from the file at path. It does not repeat the path: whoever confuses the two
// variables has written the secret there.
func (c *Config) readFile(s setting, path string) *syntaxError {
	if strings.TrimSpace(path) == "" {
		return &syntaxError{"is to come from " + s.variable() + fileSuffix + ", which is empty",
			"unset it, or let it name a file"}
	}
	text, err := readSecret(path)
	switch {
	case errors.Is(err, errFileSize):
		return &syntaxError{"the file that " + s.variable() + fileSuffix + " names is larger than 64 KiB",
			"name a file with the secret alone"}
	case err != nil:
		return &syntaxError{"the file that " + s.variable() + fileSuffix + " names cannot be read: " + reason(err),
			"name a file that this user can read"}
	case strings.TrimSpace(text) == "":
		return &syntaxError{"the file that " + s.variable() + fileSuffix + " names is empty",
			"write the secret into it"}
	}
	if err := s.value(c).Addr().Interface().(envconfig.Decoder).Decode(text); err != nil {
		return describe(s, err)
	}
	c.files[s.name] = path
	return nil
}

// FromFile reports whether the setting is a secret that was read from a file. The name is without the prefix.
func (c *Config) FromFile(name string) bool { return c.files[name] != "" }

// Reread returns a secret as its file holds it now, for those that are replaced while Sidecast runs. The name is without
// the prefix, and one for which FromFile is true. The error holds neither the secret nor the path. Reread may be called
// concurrently.
func (c *Config) Reread(name string) (string, error) {
	text, err := readSecret(c.files[name])
	switch {
	case errors.Is(err, errFileSize):
		return "", err
	case err != nil:
		return "", errors.New(reason(err))
	case strings.TrimSpace(text) == "":
		return "", errors.New("the file is empty")
	}
	return text, nil
}

var errFileSize = errors.New("file is too large")

// readSecret returns the contents of a file without one trailing line break.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecretFile {
		return "", errFileSize
	}
	if text, ok := strings.CutSuffix(string(b), "\n"); ok {
		return strings.TrimSuffix(text, "\r"), nil
	}
	return string(b), nil
}

// reason returns what the system said about a file, without the file's name.
func reason(err error) string {
	if err, ok := errors.AsType[*fs.PathError](err); ok {
		return err.Err.Error()
	}
	return "it broke off"
}

// checkText refuses what no setting takes, before a type looks at it.
func checkText(s setting, text string) *syntaxError {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return &syntaxError{"is set but empty", "unset it, or give it a value"}
	case s.secret:
		return nil
	case !utf8.ValidString(trimmed):
		return &syntaxError{"is not UTF-8", "write it in UTF-8"}
	case !s.manyLines && strings.ContainsFunc(trimmed, unicode.IsControl):
		return &syntaxError{"has a control character in it, perhaps a line break", "write it on one line"}
	}
	return nil
}

// describe turns what envconfig says into a fault. Its own text holds the value, so only the cause is used, and of that
// only what this package wrote.
func describe(s setting, err error) *syntaxError {
	// ParseError has no Unwrap.
	if parse, ok := errors.AsType[*envconfig.ParseError](err); ok {
		err = parse.Err
		if len(s.oneOf) > 0 {
			return s.refuse(strings.TrimSpace(parse.Value))
		}
	}
	if err, ok := errors.AsType[*syntaxError](err); ok {
		return err
	}
	return &syntaxError{"cannot be read", "write " + s.field.Tag.Get("desc")}
}

// check holds a value that was read against the setting's tags.
func (s setting) check(value reflect.Value) *syntaxError {
	text := fmt.Sprint(value.Interface())
	if len(s.oneOf) > 0 && !slices.Contains(s.oneOf, text) {
		return s.refuse(text)
	}
	low, hasLow := s.bound("min")
	high, hasHigh := s.bound("max")
	automatic := value.Type() == reflect.TypeFor[AutoCount]() && value.IsZero()
	switch {
	case automatic:
	case hasLow && value.Int() < low.Int():
		return &syntaxError{text + " is too little", fmt.Sprintf("write %v or more", low)}
	case hasHigh && value.Int() > high.Int():
		return &syntaxError{text + " is too much", fmt.Sprintf("write %v or less", high)}
	}
	return nil
}

// bound decodes the tag `min` or `max` as a value of the setting's own type.
func (s setting) bound(tag string) (reflect.Value, bool) {
	text, ok := s.field.Tag.Lookup(tag)
	if !ok {
		return reflect.Value{}, false
	}
	value := reflect.New(s.field.Type)
	if err := value.Interface().(envconfig.Decoder).Decode(text); err != nil {
		panic(fmt.Sprintf("config: %s of %s: %v", tag, s.name, err))
	}
	return value.Elem(), true
}

// refuse says that the setting takes other values.
func (s setting) refuse(value string) *syntaxError {
	return &syntaxError{echo(value) + " is not a value that it takes", "write " + orList(s.oneOf)}
}
