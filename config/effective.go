package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Setting is the effective value of one setting.
type Setting struct {
	Name    string // of the variable, with the prefix
	Value   string // in the form in which it can be set, with secrets redacted; "" if there is no value
	FromEnv bool   // set in the environment, directly or as a file; otherwise a default
}

// Effective returns all settings in order. The value of EMBEDDED is never auto.
// No secret is shown.
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

// Print writes the settings that have a value in the form in which they can be
// set, and marks the defaults. No secret is shown.
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
