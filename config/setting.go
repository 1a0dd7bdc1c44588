package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kelseyhightower/envconfig"

	"sidecast/relay/syntax"
)

// Prefix is the prefix of the name of every variable that Sidecast reads.
const Prefix = envPrefix + "_"

const envPrefix = "SIDECAST"

// fileSuffix is the suffix of a variable that contains the path of a file with
// a secret.
const fileSuffix = "_FILE"

// A setting is one field of Config, with the properties that its type and its
// tags define.
type setting struct {
	field     reflect.StructField
	name      string // without the prefix
	heading   string
	oneOf     []string
	secret    bool // never shown, and can be read from a file
	manyLines bool // may contain line breaks
}

// hidden is implemented by the types whose values must never be shown.
type hidden interface{ hide() }

// settings lists the fields of Config in order. It panics if envconfig cannot
// read Config, which every test would show.
var settings = sync.OnceValue(func() []setting {
	config := reflect.TypeFor[Config]()
	var list []setting
	for _, f := range reflect.VisibleFields(config) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		s := setting{field: f, heading: config.Field(f.Index[0]).Tag.Get("heading")}
		s.name = variableName(f.Name)
		if values := f.Tag.Get("oneof"); values != "" {
			s.oneOf = strings.Split(values, ",")
		}
		s.secret = f.Type.Implements(reflect.TypeFor[hidden]())
		s.manyLines = f.Type == reflect.TypeFor[PublicKey]()
		list = append(list, s)
	}
	return list
})

// A name is split before each word. A run of capitals is one word, except that
// its last letter begins the next word if small letters follow.
var (
	words    = regexp.MustCompile(`[^A-Z]+|[A-Z]+[^A-Z]+|[A-Z]+`)
	acronyms = regexp.MustCompile(`^([A-Z]+)([A-Z][^A-Z]+)$`)
)

// variableName returns the name, without the prefix, that envconfig reads for a
// field with the tag split_words; a test compares the two. Calling envconfig's
// own function would link text/template into the program, and then the linker
// could not remove any unused method.
func variableName(field string) string {
	var name []string
	for _, word := range words.FindAllString(field, -1) {
		if parts := acronyms.FindStringSubmatch(word); parts != nil {
			name = append(name, parts[1:]...)
		} else {
			name = append(name, word)
		}
	}
	return strings.ToUpper(strings.Join(name, "_"))
}

// variable returns the setting's name with the prefix.
func (s setting) variable() string { return Prefix + s.name }

// value returns the setting's field in c.
func (s setting) value(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.field.Index)
}

// spec returns a pointer to a struct with only this field. envconfig stops at
// the first error, so it gets one setting at a time.
func (s setting) spec(embedded bool) reflect.Value {
	// If a tag has the same key twice, the first one counts.
	tag := "default:" + strconv.Quote(s.defaultValue(embedded)) + " " + string(s.field.Tag)
	return reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: s.field.Name, Type: s.field.Type, Tag: reflect.StructTag(tag)},
	}))
}

// defaultValue returns the setting's value if it is unset, or "" if there is no
// default.
func (s setting) defaultValue(embedded bool) string {
	if value, ok := s.field.Tag.Lookup("embedded"); ok && embedded {
		return value
	}
	return s.field.Tag.Get("default")
}

// decodeDefault sets a field to the setting's default. If there is none, the
// field keeps its zero value.
func (s setting) decodeDefault(field reflect.Value, embedded bool) *syntax.Error {
	text := s.defaultValue(embedded)
	if text == "" {
		return nil
	}
	decoder, ok := field.Addr().Interface().(envconfig.Decoder)
	if !ok {
		field.SetString(text)
		return nil
	}
	if err := decoder.Decode(text); err != nil {
		return describe(s, err)
	}
	return nil
}

// protective are the settings, besides secrets, without which the relay accepts
// more than its operator intended: every channel in development mode, tokens
// that were made for other applications, or connections without TLS.
var protective = []string{"EMBEDDED", "TLS_CERT", "TLS_KEY", "JWT_ALGORITHMS", "JWT_ISSUER", "JWT_AUDIENCE"}

// mayBeEmpty reports whether a variable that is set but empty counts as unset.
// It does not where an empty shell variable would open the relay.
func (s setting) mayBeEmpty() bool { return !s.secret && !slices.Contains(protective, s.name) }

// defaults describes the setting's defaults, each formatted by literal. It
// returns "" if there are no defaults.
func (s setting) defaults(literal func(string) string) string {
	usual, embedded := s.defaultValue(false), s.defaultValue(true)
	switch {
	case usual == embedded && usual == "":
		return ""
	case usual == embedded:
		return literal(usual)
	case usual == "":
		return "unset; embedded: " + literal(embedded)
	}
	return literal(usual) + "; embedded: " + literal(embedded)
}

// description returns the description of the setting for the tables.
func (s setting) description() string {
	text := s.field.Tag.Get("desc")
	values := s.oneOf
	if s.field.Type == reflect.TypeFor[Switch]() {
		values = []string{"true", "false"}
	}
	if len(values) > 0 {
		text += " ('" + strings.Join(values, "', '") + "')"
	}
	if s.secret {
		text += "; or set " + s.variable() + fileSuffix + " to the path of a file that contains it"
	}
	return text
}

// check compares a value with the setting's tags.
func (s setting) check(value reflect.Value) *syntax.Error {
	text := fmt.Sprint(value.Interface())
	if len(s.oneOf) > 0 && !slices.Contains(s.oneOf, text) {
		return s.reject(text)
	}
	low, hasLow := s.bound("min")
	high, hasHigh := s.bound("max")
	automatic := value.Type() == reflect.TypeFor[AutoCount]() && value.IsZero()
	switch {
	case automatic:
	case hasLow && value.Int() < low.Int():
		return syntax.New(text+" is below the minimum", fmt.Sprintf("write %v or more", low))
	case hasHigh && value.Int() > high.Int():
		return syntax.New(text+" is above the maximum", fmt.Sprintf("write %v or less", high))
	}
	return nil
}

// bound decodes the tag `min` or `max` as a value of the setting's type.
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

// reject reports a value that is not in the tag `oneof`.
func (s setting) reject(value string) *syntax.Error {
	return syntax.New(syntax.Quote(value)+" is not an allowed value", "write "+orList(s.oneOf))
}

// orList writes a list as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
