package relaytest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A stream is the part of a [Client] that reads Server-Sent Events. Its log is
// that of a client of sidecast.v1 that has subscribed to the channels of the
// stream, so that [Check] applies: the request is the subscribe, and the first
// id is the answer for each channel.
type stream struct {
	channels []string
	resuming bool // the request has the id of an event
	lost     bool // the relay cannot send everything that the client missed
	joined   bool // the first id has arrived
	last     string
	began    time.Time // of the request
}

// request sends the request for a stream, and returns its body.
func (s *stream) request(d *Dialer, conn net.Conn, reader *bufio.Reader, target *url.URL) (*bufio.Reader, error) {
	s.began = time.Now()
	request := &http.Request{Method: http.MethodGet, URL: target, Host: target.Host, Header: d.Header.Clone()}
	if request.Header == nil {
		request.Header = make(http.Header)
	}
	request.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		request.Header.Set("Last-Event-ID", s.last)
	}
	if err := request.Write(conn); err != nil {
		return nil, fmt.Errorf("requesting the stream: %w", err)
	}
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		return nil, &HandshakeError{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	}
	if len(response.TransferEncoding) == 0 {
		return reader, nil // the end of the connection ends the body
	}
	return bufio.NewReader(response.Body), nil
}

// begin logs the request.
func (s *stream) begin(c *Client) {
	s.resuming = s.last != ""
	for _, channel := range s.channels {
		c.log.add(Event{At: s.began, Kind: KindSent, Text: "subscribe", Channel: channel, Cursor: s.last})
	}
}

// readStream is readFrames for Server-Sent Events.
func (c *Client) readStream() (code uint16, err error) {
	for {
		name, data, id, err := readBlock(c.reader)
		if err != nil {
			return code, err
		}
		if code != 0 {
			return code, wireErrorf("the event %q follows the close", name)
		}
		if code, err = c.receiveBlock(name, data, id); err != nil {
			return 0, err
		}
	}
}

// readBlock reads a block. Lines of data are joined as a browser does it.
func readBlock(r *bufio.Reader) (name, data, id string, err error) {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", "", err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			return cmp.Or(name, "message"), strings.Join(lines, "\n"), id, nil
		case field == "event":
			name = value
		case field == "data":
			lines = append(lines, value)
		case field == "id" && value == "":
			return "", "", "", wireErrorf("an empty id")
		case field == "id":
			id = value
		case field != "" && field != "retry":
			return "", "", "", wireErrorf("the line %.100q in a stream", line)
		}
	}
}

// receiveBlock logs the event of a block. code is not 0 if it is the last one.
func (c *Client) receiveBlock(name, data, id string) (code uint16, err error) {
	s := c.stream
	s.last = cmp.Or(id, s.last)
	switch {
	case name == "close":
		var end struct {
			Code   uint16
			Reason string
		}
		if err := json.Unmarshal([]byte(data), &end); err != nil {
			return 0, wireErrorf("close with %.100q", data)
		}
		c.record(Event{Kind: KindClose, Code: end.Code, Text: end.Reason})
		return end.Code, nil
	case data == "" && !s.joined && id != "":
		s.joined = true
		for _, channel := range s.channels {
			c.record(Event{Kind: KindSubscribed, Channel: channel, Cursor: id, Recovered: s.resuming && !s.lost})
		}
		return 0, nil
	case data == "":
		c.record(Event{Kind: KindHeartbeat, Cursor: id})
		return 0, nil
	}
	at := time.Now()
	e, err := c.messages.decode(V1, OpText, []byte(data))
	if err != nil {
		return 0, err
	}
	if e.Kind == KindGap && e.Text == "unrecovered" {
		s.lost = true // the first id follows
		return 0, nil
	}
	e.At, e.Sent = at, c.sentBefore()
	c.log.add(e)
	return 0, nil
}
