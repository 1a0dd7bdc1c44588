package trace

import (
	"bytes"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// looksEmpty are payloads that programs publish when they meant another one.
var looksEmpty = []struct {
	payload, text, do string
}{
	{"", "the payload is empty", "check the result of json_encode: it returns false, which PHP publishes as an empty text, if a string is not UTF-8; use JSON_THROW_ON_ERROR"},
	{"false", "the payload is the word false", "check the result of the encoder, such as json_encode, before you publish it"},
	{"null", "the payload is the word null", "check that the variable that you publish is set"},
	{"undefined", "the payload is the word undefined", "check that the variable that you publish is set"},
	{"NaN", "the payload is NaN", "check the number that you publish"},
	{"Array", "the payload is the word Array", "encode the array: json_encode($data)"},
	{"[object Object]", "the payload is the text [object Object]", "encode the object: JSON.stringify(data)"},
}

// serialized matches what PHP's serialize returns for arrays, objects and texts.
var serialized = regexp.MustCompile(`^(a:\d+:\{|O:\d+:"|s:\d+:")`)

// checkPayload says why a payload is probably a mistake, or nothing.
func checkPayload(payload []byte, max int) Sentence {
	for _, bad := range looksEmpty {
		if string(payload) == bad.payload {
			return Sentence{Text: bad.text, Do: bad.do, Wrong: true}
		}
	}
	switch {
	case max > 0 && len(payload) > max:
		return Sentence{
			Text: fmt.Sprintf("the payload has %d bytes, more than SIDECAST_MAX_PAYLOAD_BYTES (%d), so the relay drops it and clients get a gap", len(payload), max),
			Do:   "publish less, such as an id by which the page loads the rest, or raise the setting", Wrong: true,
		}
	case serialized.Match(payload), bytes.HasPrefix(payload, []byte{0, 0, 0, 2}): // the second is igbinary
		return Sentence{Text: "the payload is one of PHP's serializers, which pages cannot read", Do: "publish JSON: json_encode($data)", Wrong: true}
	case !utf8.Valid(payload):
		return Sentence{
			Text: "the payload is not UTF-8: clients of sidecast.v1 receive it as base64, raw ones as a binary frame",
			Do:   "encode texts in UTF-8, if pages expect a text", Wrong: true,
		}
	}
	return Sentence{}
}
