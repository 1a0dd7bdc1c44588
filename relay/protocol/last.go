package protocol

import "strconv"

// MaxLast is the largest Last of a [ChannelRequest].
const MaxLast = 100

// ParseLast parses the Last of a [ChannelRequest] as it is written in a URL.
func ParseLast(text string) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= MaxLast && strconv.Itoa(n) == text
}
