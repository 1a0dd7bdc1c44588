package config

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kelseyhightower/envconfig"

	"sidecast/relay/syntax"
)

// Load reads the process environment and checks all settings. It also returns
// warnings about settings that are unusual but valid.
//
// The error is nil or [Faults] with every fault. The Config is never nil. If
// there are faults, it is only useful for finding more of them; a setting that
// could not be read is zero in it.
func Load() (*Config, []Warning, error) {
	c := newConfig()
	empty := c.findSet()
	faults := unread(os.Environ())
	for _, f := range faults {
		name := strings.TrimSuffix(strings.TrimPrefix(f.Name, Prefix), fileSuffix)
		c.set[name], c.faulty[name] = true, true
	}
	faults = append(faults, c.readAll(settings())...)
	c.addPusherChannels()
	faults = append(faults, c.Validate()...)
	return c, slices.Concat(empty, c.warnings(), misspelt(os.Environ())), faults.Err()
}

// LoadOnly reads only the settings with these names, which are without the
// prefix. The others are zero, whatever their variables are, and no file is
// read for them; [Config.IsSet] and [Config.IsEmbedded] know whether they are
// set. It is for commands that have to work while a file cannot be read.
func LoadOnly(names ...string) (*Config, error) {
	c := newConfig()
	c.findSet()
	return c, c.readAll(slices.DeleteFunc(slices.Clone(settings()), func(s setting) bool {
		return !slices.Contains(names, s.name)
	})).Err()
}

func newConfig() *Config {
	return &Config{set: make(map[string]bool), faulty: make(map[string]bool), files: make(map[string]string)}
}

// readAll sets the fields of settings, except those that have a fault already.
func (c *Config) readAll(list []setting) (faults Faults) {
	for _, s := range list {
		if c.faulty[s.name] {
			continue
		}
		if err := c.read(s); err != nil {
			c.faulty[s.name] = true
			s.value(c).SetZero()
			faults.Add(s.name, err.Problem, err.Hint)
		}
	}
	return faults
}

// findSet notes which settings are set, and returns a warning for each that is
// set but empty and counts as unset.
func (c *Config) findSet() (empty []Warning) {
	for _, s := range settings() {
		text, direct := os.LookupEnv(s.variable())
		_, file := os.LookupEnv(s.variable() + fileSuffix)
		if direct && s.mayBeEmpty() && strings.TrimSpace(text) == "" {
			empty = append(empty, Warning{s.variable(), "is set but empty, which counts as unset"})
		} else if direct || file && s.secret {
			c.set[s.name] = true
		}
	}
	return empty
}

// read sets the field of one setting.
func (c *Config) read(s setting) *syntax.Error {
	if !c.set[s.name] {
		return s.decodeDefault(s.value(c), c.IsEmbedded())
	}
	text, direct := os.LookupEnv(s.variable())
	file, fromFile := os.LookupEnv(s.variable() + fileSuffix)
	if s.secret && fromFile {
		if direct {
			return syntax.New("is set together with "+s.variable()+fileSuffix, "unset one of them")
		}
		return c.readFile(s, file)
	}
	if err := checkText(s, text); err != nil {
		return err
	}
	spec := s.spec(c.IsEmbedded())
	if err := envconfig.Process(envPrefix, spec.Interface()); err != nil {
		return describe(s, err)
	}
	field := s.value(c)
	field.Set(spec.Elem().Field(0))
	if field.Kind() == reflect.String {
		text := strings.TrimSpace(field.String())
		if len(s.oneOf) > 0 { // in any case
			text = strings.ToLower(text)
		}
		field.SetString(text)
	}
	return s.check(field)
}

// readFile sets the field of a secret from the file at path. Its errors do not
// repeat the path, because a user who confuses the two variables has written
// the secret there.
func (c *Config) readFile(s setting, path string) *syntax.Error {
	variable := s.variable() + fileSuffix
	if strings.TrimSpace(path) == "" {
		return syntax.New("is read from a file, but "+variable+" is empty", "unset "+variable+", or set it to the path of a file")
	}
	if err := s.hasEnvFileSyntax(strings.TrimSpace(path)); err != nil {
		return syntax.New("is read from a file, but "+variable+" "+err.Problem, err.Hint)
	}
	content := "secret"
	if s.name == "REDIS_URL" {
		content = "URL"
	}
	text, err := readSecret(path)
	switch {
	case errors.Is(err, errFileSize):
		return syntax.New("the file that "+variable+" names is larger than 64 KiB",
			"write the path of a file that contains only the "+content)
	case err != nil:
		return syntax.New("the file that "+variable+" names cannot be read: "+reason(err), hintReadable)
	case strings.TrimSpace(text) == "":
		return syntax.New("the file that "+variable+" names is empty", "write the "+content+" into it")
	}
	if s.name == "REDIS_URL" {
		if err := checkText(s, text); err != nil {
			return syntax.New("the file that "+variable+" names "+err.Problem, err.Hint)
		}
	}
	if err := s.value(c).Addr().Interface().(envconfig.Decoder).Decode(text); err != nil {
		return describe(s, err)
	}
	c.files[s.name] = path
	return nil
}

// checkText rejects a text that no setting accepts, before the setting's type
// reads it.
func checkText(s setting, text string) *syntax.Error {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return syntax.New("is set but empty", "unset it, or give it a value")
	case s.secret && s.name != "REDIS_URL": // may contain anything; see doubtful
		return nil
	case !utf8.ValidString(trimmed):
		return syntax.New("is not valid UTF-8", "write it in UTF-8")
	}
	if err := s.hasEnvFileSyntax(trimmed); err != nil {
		return err
	}
	if !s.manyLines && strings.ContainsFunc(trimmed, unicode.IsControl) {
		return syntax.New("contains a control character, perhaps a line break", "write it on one line")
	}
	return nil
}

// describe turns an error of envconfig into a fault. The text of that error
// contains the value, so describe uses only the cause, and only if a parser of
// ours returned it.
func describe(s setting, err error) *syntax.Error {
	// ParseError has no method Unwrap.
	if parse, ok := errors.AsType[*envconfig.ParseError](err); ok {
		err = parse.Err
		if len(s.oneOf) > 0 {
			return s.reject(strings.TrimSpace(parse.Value))
		}
	}
	if err, ok := errors.AsType[*syntax.Error](err); ok {
		return err
	}
	return syntax.New("cannot be parsed", "correct it; the setting is: "+s.field.Tag.Get("desc"))
}
