package presence

import (
	"bytes"
	"encoding/json"
)

// maxInfo bounds a member's info, in bytes.
const maxInfo = 1 << 10

// compact returns info in one line, or nothing if it is not JSON.
func compact(info []byte) []byte {
	if len(info) == 0 {
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, info) != nil || !validInfo(b.Bytes()) {
		return nil
	}
	return b.Bytes()
}

// validInfo reports whether info, which may come from any program that writes to
// Redis, may be sent to clients as it is: it is empty or JSON in one line.
func validInfo(info []byte) bool {
	return len(info) == 0 || len(info) <= maxInfo && !bytes.ContainsAny(info, "\n\t\r") && json.Valid(info)
}
