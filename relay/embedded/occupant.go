package embedded

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// pidCommand answers with the process id. Only this Redis knows it.
const pidCommand = "SIDECAST.PID"

// askTimeout bounds connecting to a loopback address, and waiting for each answer there.
const askTimeout = time.Second

// An occupant is who answers on an address.
type occupant uint8

const (
	nobody    occupant = iota
	realRedis          // Redis, Valkey or one of their kin
	neighbour          // the Redis in memory of another relay
	stranger           // anything else
)

// notice says what it means that wanted is taken and taken was used instead.
func (o occupant) notice(wanted, taken string) string {
	switch o {
	case realRedis:
		return fmt.Sprintf("a Redis answers on %[1]s; to use it: SIDECAST_REDIS_URL=redis://%[1]s"+
			" SIDECAST_CHANNELS='chat*' SIDECAST_PUBLIC_CHANNELS='chat*' go run .\n"+
			"without that, the Redis in memory is on %[2]s", wanted, taken)
	case neighbour:
		return fmt.Sprintf("another relay has its Redis in memory on %s; the one of this relay is on %s", wanted, taken)
	case stranger:
		return fmt.Sprintf("something that is not Redis has %s; the Redis in memory is on %s", wanted, taken)
	}
	return ""
}

// ask finds out who answers on addr.
func ask(addr string) occupant {
	answers, connected := converse(addr, "PING", pidCommand)
	switch {
	case !connected:
		return nobody
	case len(answers) == 0 || !isRedis(answers[0]):
		return stranger
	case len(answers) == 2 && strings.HasPrefix(answers[1], ":"):
		return neighbour
	}
	return realRedis
}

// A Redis that wants a password or is still loading says so in an error with a code in capitals.
var redisError = regexp.MustCompile(`^-[A-Z]+ `)

func isRedis(answer string) bool { return answer == "+PONG" || redisError.MatchString(answer) }

// pid returns the process that serves a Redis in memory on addr, and false if nobody does.
func pid(addr string) (int, bool) {
	answers, _ := converse(addr, pidCommand)
	if len(answers) == 0 {
		return 0, false
	}
	number, ok := strings.CutPrefix(answers[0], ":")
	n, err := strconv.Atoi(number)
	return n, ok && err == nil
}

// converse sends commands without arguments to addr and returns the first lines of the answers, as many as come, and
// whether somebody accepted the connection.
func converse(addr string, commands ...string) (answers []string, connected bool) {
	c, err := net.DialTimeout("tcp", addr, askTimeout)
	if err != nil {
		return nil, false
	}
	defer c.Close()
	reader := bufio.NewReaderSize(c, 1<<10)
	for _, command := range commands {
		if err := c.SetDeadline(time.Now().Add(askTimeout)); err != nil {
			return answers, true
		}
		if _, err := fmt.Fprintf(c, "*1\r\n$%d\r\n%s\r\n", len(command), command); err != nil {
			return answers, true
		}
		line, err := reader.ReadSlice('\n') // an answer that fills the buffer is not Redis's
		if err != nil {
			return answers, true
		}
		answers = append(answers, strings.TrimRight(string(line), "\r\n"))
	}
	return answers, true
}
