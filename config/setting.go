package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Prefix begins the name of every variable that Sidecast reads.
const Prefix = envPrefix + "_"

const envPrefix = "SIDECAST"

// fileSuffix makes the name of the variable that names the file with a secret.
const fileSuffix = "_FILE"

// A setting is one field of Config, with what its tags say.
type setting struct {
	field   reflect.StructField
	name    string // without the prefix
	heading string
	oneOf   []string
	secret  bool // never shown, and can be given as a file

	manyLines bool // may have line breaks in it
}

// hidden is implemented by the types whose values must never be shown.
type hidden interface{ hide() }

// settings lists the fields of Config in order. It panics on a struct that envconfig cannot read, which any test shows.
var settings = sync.OnceValue(func() []setting {
	config := reflect.TypeFor[Config]()
	var list []setting
	for _, f := range reflect.VisibleFields(config) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		s := setting{field: f, heading: config.Field(f.Index[0]).Tag.Get("heading")}
		s.name = variable(f.Name)
		if values := f.Tag.Get("oneof"); values != "" {
			s.oneOf = strings.Split(values, ",")
		}
		s.secret = f.Type.Implements(reflect.TypeFor[hidden]())
		s.manyLines = f.Type == reflect.TypeFor[PublicKey]()
		list = append(list, s)
	}
	return list
})

func settingNamed(name string) (setting, bool) {
	for _, s := range settings() {
		if s.name == name {
			return s, true
		}
	}
	return setting{}, false
}

// variable returns the setting's whole name.
func (s setting) variable() string { return Prefix + s.name }

// defaultValue returns what the setting is where it is unset, or "" for nothing.
func (s setting) defaultValue(embedded bool) string {
	if value, ok := s.field.Tag.Lookup("embedded"); ok && embedded {
		return value
	}
	return s.field.Tag.Get("default")
}

// spec returns a pointer to a struct with this field alone: envconfig stops at the first error, so it is given one
// setting at a time.
func (s setting) spec(embedded bool) reflect.Value {
	// The first of two equal keys in a tag wins.
	tag := "default:" + strconv.Quote(s.defaultValue(embedded)) + " " + string(s.field.Tag)
	return reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: s.field.Name, Type: s.field.Type, Tag: reflect.StructTag(tag)},
	}))
}

// A name has its words apart: runs of capitals are one, but the last of them begins the next if small letters follow.
var (
	words    = regexp.MustCompile(`[^A-Z]+|[A-Z]+[^A-Z]+|[A-Z]+`)
	acronyms = regexp.MustCompile(`^([A-Z]+)([A-Z][^A-Z]+)$`)
)

// variable returns the name that envconfig reads for a field with split_words, without the prefix: a test compares. Asking
// envconfig itself would take text/template along, and with it the linker would keep every method of the whole program.
func variable(field string) string {
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

// value returns the setting's field in c.
func (s setting) value(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.field.Index)
}
