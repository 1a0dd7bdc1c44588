package stream

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"strings"
	"unicode/utf8"
)

// An Entry is one message of a durable channel.
type Entry struct {
	Cursor
	Payload  []byte // nil if TooLarge
	TooLarge bool   // the payload exceeds the limit given to NewEntry
}

// PayloadField is the field of an entry that holds its payload.
const PayloadField = "data"

// NewEntry returns the entry with these fields, which are names and values in
// turn. Its payload is the value of the first field named [PayloadField]. If
// there is no such field, the payload is a JSON object of all fields in their
// order. Values in it that are not UTF-8 are {"base64":".."}, and names that are
// not are "base64:..". A payload of more than limit bytes is left out and the
// entry is marked as too large.
func NewEntry(id ID, fields []string, limit int) Entry {
	e := Entry{Cursor: Cursor{ID: id, Check: checkFields(fields)}}
	payload := payloadFromFields(fields)
	if len(payload) > limit {
		e.TooLarge = true
		return e
	}
	e.Payload = payload
	return e
}

// checkFields returns the CRC-32C (Castagnoli) of all names and values, each
// preceded by its length as 8 bytes in network order.
func checkFields(fields []string) (check uint32) {
	table := crc32.MakeTable(crc32.Castagnoli)
	var text []byte
	for _, field := range fields {
		text = append(binary.BigEndian.AppendUint64(text[:0], uint64(len(field))), field...)
		check = crc32.Update(check, table, text)
	}
	return check
}

func payloadFromFields(fields []string) []byte {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == PayloadField {
			return []byte(fields[i+1])
		}
	}
	object := []byte{'{'}
	for i := 0; i+1 < len(fields); i += 2 {
		if i > 0 {
			object = append(object, ',')
		}
		object = appendValue(append(appendName(object, fields[i]), ':'), fields[i+1])
	}
	return append(object, '}')
}

// encodedName begins the name of a field that is base64 in the object.
const encodedName = "base64:"

// appendName appends the name of a field. A name that is text and begins with
// [encodedName] is encoded too, so that no two names look the same.
func appendName(b []byte, name string) []byte {
	if !utf8.ValidString(name) || strings.HasPrefix(name, encodedName) {
		name = encodedName + base64.StdEncoding.EncodeToString([]byte(name))
	}
	return appendJSON(b, name)
}

func appendValue(b []byte, value string) []byte {
	if utf8.ValidString(value) {
		return appendJSON(b, value)
	}
	b = base64.StdEncoding.AppendEncode(append(b, `{"base64":"`...), []byte(value))
	return append(b, '"', '}')
}

// appendJSON appends text, which is UTF-8, as a JSON string.
func appendJSON(b []byte, text string) []byte {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err) // encoding a string never fails
	}
	return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}
