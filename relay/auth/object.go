package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sidecast/relay/access"
)

// An object is a JSON object of another program: the claims of a token, or an
// answer. Unlike encoding/json, it compares names exactly (RFC 7519 section
// 7.3), so that "Sub" is not "sub". Its methods read one member each. They
// return the zero value if the member is missing, null or invalid, and keep the
// first error in err.
type object struct {
	members map[string]json.RawMessage
	err     error
}

var errTwice = &problem{text: "a name occurs twice", do: "write each name once"}

// parseObject parses a text that is one JSON object. It rejects names that
// occur twice, because other programs may use the other value.
func parseObject(text []byte) (*object, error) {
	if err := checkUnicode(text); err != nil {
		return nil, err
	}
	if !json.Valid(text) || bytes.TrimSpace(text)[0] != '{' {
		return nil, notObject(text)
	}
	// The text is valid, so the decoder returns no errors.
	decoder := json.NewDecoder(bytes.NewReader(text))
	_, _ = decoder.Token()
	o := &object{members: make(map[string]json.RawMessage)}
	for decoder.More() {
		token, _ := decoder.Token()
		name, _ := token.(string)
		var value json.RawMessage
		_ = decoder.Decode(&value)
		if _, exists := o.members[name]; exists {
			return nil, errTwice
		}
		o.members[name] = value
	}
	return o, nil
}

// notObject describes a text that is not a JSON object.
func notObject(text []byte) *problem {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return &problem{text: "not a JSON object: empty"}
	case bytes.HasPrefix(text, []byte("\ufeff")):
		return &problem{text: "not a JSON object: a byte order mark (BOM) before it", do: "save the program's files as UTF-8 without a BOM"}
	case text[0] == '<':
		return &problem{text: "not a JSON object: HTML"}
	case text[0] == '{':
		return &problem{text: "not one valid JSON object", do: "print one object and nothing else"}
	case bytes.IndexByte(text, '{') > 0 && text[0] != '[' && text[0] != '"':
		return &problem{
			text: "not a JSON object: text before it", do: "print nothing else, also no warnings; in PHP, set display_errors=Off",
		}
	}
	return &problem{text: "not a JSON object"}
}

// has reports whether the member exists and is not null.
func (o *object) has(name string) bool {
	value, ok := o.members[name]
	return ok && string(value) != "null"
}

// fail keeps an error about a member, unless there is one already.
func (o *object) fail(name, text, do string) {
	if o.err == nil {
		o.err = &problem{text: name + " " + text, do: do}
	}
}

// kind returns the type of a member for an error message.
func (o *object) kind(name string) string {
	switch o.members[name][0] {
	case '"':
		return "a string"
	case '[':
		return "a list"
	case '{':
		return "an object"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}

// string reads a string.
func (o *object) string(name string) (text string) {
	if o.has(name) && json.Unmarshal(o.members[name], &text) != nil {
		o.fail(name, "is "+o.kind(name)+" and not a string", "")
	}
	return text
}

// strings reads a list of strings.
func (o *object) strings(name string) []string {
	if !o.has(name) {
		return nil
	}
	var items []*string
	if err := json.Unmarshal(o.members[name], &items); err != nil {
		switch kind := o.kind(name); kind {
		case "a list":
			o.fail(name, "contains something that is not a string", "")
		case "an object":
			o.fail(name, "is an object and not a list of strings", "in PHP, array_values($list) makes a list of an array")
		default:
			o.fail(name, "is "+kind+" and not a list of strings", "")
		}
		return nil
	}
	list := make([]string, len(items))
	for i, item := range items {
		if item == nil {
			o.fail(name, "contains something that is not a string", "")
			return nil
		}
		list[i] = *item
	}
	return list
}

// number reads a number.
func (o *object) number(name string) (number float64, ok bool) {
	if !o.has(name) {
		return 0, false
	}
	if json.Unmarshal(o.members[name], &number) != nil {
		if kind := o.kind(name); kind != "a number" {
			o.fail(name, "is "+kind+" and not a number of seconds", "")
		} else {
			o.fail(name, "is too large", "")
		}
		return 0, false
	}
	return number, true
}

// date reads a time (RFC 7519 section 2): a number of seconds, of which the
// fraction is dropped.
func (o *object) date(name string) *numericDate {
	seconds, ok := o.number(name)
	switch {
	case !ok:
		return nil
	case seconds > maxDate && seconds <= maxDate*1000:
		o.fail(name, "is in milliseconds and not in seconds", "divide it by 1000, and round it")
		return nil
	case seconds < 0 || seconds > maxDate:
		o.fail(name, "is not a number of seconds since 1970", "")
		return nil
	}
	date := numericDate(seconds)
	return &date
}

// oneOrMore reads a string or a list of strings.
func (o *object) oneOrMore(name string) []string {
	if o.has(name) && o.kind(name) == "a string" {
		return []string{o.string(name)}
	}
	return o.strings(name)
}

// user reads a user's id: a string, or a whole number, because many databases
// use numbers.
func (o *object) user(name string) string {
	switch {
	case !o.has(name):
		o.fail(name, "is missing", "it must be the user's id: a string, or a whole number")
		return ""
	case o.kind(name) == "a number":
		id := string(o.members[name])
		if len(id) > 20 || strings.Trim(strings.TrimPrefix(id, "-"), "0123456789") != "" {
			o.fail(name, "is not a whole number of at most 20 digits", "")
			return ""
		}
		return id
	case o.kind(name) != "a string":
		o.fail(name, "is "+o.kind(name), "it must be the user's id: a string, or a whole number")
		return ""
	}
	id := o.string(name)
	if !access.ValidUser(id) {
		o.fail(name, "is not a valid id of a user", "it must have 1 to 128 bytes and no control characters")
		return ""
	}
	return id
}

// tokenID reads a token's id. It should be a string (RFC 7519 section 4.1.7),
// but some applications use the number of a row in their database.
func (o *object) tokenID(name string) string {
	if o.has(name) && o.kind(name) == "a number" {
		return string(o.members[name])
	}
	return o.string(name)
}

// info reads what other members of a channel may know about a user: any JSON
// value that is not too large. The result has no white space between its parts.
func (o *object) info(name string) []byte {
	if !o.has(name) {
		return nil
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, o.members[name]) // parseObject has found it valid
	if compact.Len() > access.MaxInfo {
		o.fail(name, fmt.Sprintf("is larger than %d bytes of JSON", access.MaxInfo), "send less, such as a name and the URL of a picture")
		return nil
	}
	return compact.Bytes()
}

// onlyKnown rejects an object that has a member of another name. Of several it
// names the first in alphabetical order.
func (o *object) onlyKnown(known ...string) {
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		if !slices.Contains(known, name) {
			o.fail(quoteName(name), "is unknown", "send only "+strings.Join(known, ", "))
			return
		}
	}
}

// quoteName returns a name that another program chose in a form that can be
// logged.
func quoteName(name string) string {
	const limit = 64
	if len(name) > limit {
		name = strings.ToValidUTF8(name[:limit], "") + "..."
	}
	return strconv.Quote(name)
}
