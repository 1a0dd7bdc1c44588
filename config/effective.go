package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Setting is one setting as it came out.
type Setting struct {
	Name    string // of the variable, with the prefix
	Value   string // as it could be written, secrets redacted; "" for none
	FromEnv bool   // given in the environment, itself or as a file; else a default
}

// Effective returns all settings in order, with EMBEDDED as it was decided. It shows no secret.
func (c *Config) Effective() []Setting {
	list := make([]Setting, 0, len(settings()))
	for _, s := range settings() {
		value := fmt.Sprint(s.value(c).Interface())
		if s.name == "EMBEDDED" {
			value = strconv.FormatBool(c.IsEmbedded())
		}
		list = append(list, Setting{Name: s.variable(), Value: value, FromEnv: c.set[s.name]})
	}
	return list
}

// Print writes the settings that have a value as they could be set, and says which are defaults. It shows no secret.
func (c *Config) Print(w io.Writer) error {
	var b strings.Builder
	for _, s := range c.Effective() {
		switch {
		case s.FromEnv:
			fmt.Fprintf(&b, "%s=%s\n", s.Name, s.Value)
		case s.Value != "":
			fmt.Fprintf(&b, "%s=%s  # default\n", s.Name, s.Value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
