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

// pidCommand returns the process id. Only the in-memory Redis of this package
// implements it.
const pidCommand = "SIDECAST.PID"

// askTimeout bounds connecting to a loopback address, and the wait for each
// answer.
const askTimeout = time.Second

// A portOwner is the kind of program that answers at an address.
type portOwner uint8

const (
	ownerNone     portOwner = iota // nothing answers
	ownerRedis                     // Redis, Valkey or a compatible server
	ownerLocked                    // the same, but it requires a password
	ownerEmbedded                  // the in-memory Redis of another relay
	ownerOther                     // any other program
)

// notice explains why the in-memory Redis listens on actual instead of
// requested. It is empty if there is no reason.
func (o portOwner) notice(requested, actual string) string {
	switch o {
	case ownerRedis:
		return redisNotice(requested, actual, "redis://"+requested, "run:")
	case ownerLocked:
		return redisNotice(requested, actual, "redis://:PASSWORD@"+requested, "run, with its password:")
	case ownerEmbedded:
		return fmt.Sprintf("another relay runs its in-memory Redis on %s; this relay runs its own on %s", requested, actual)
	case ownerOther:
		return fmt.Sprintf("another program, which is not Redis, uses %s; this relay runs its in-memory Redis on %s", requested, actual)
	}
	return ""
}

// redisNotice shows how to use the server instead. The settings keep every page
// working that works without settings: a page that names no channel needs a
// default channel and the right to publish to it.
func redisNotice(requested, actual, url, run string) string {
	return fmt.Sprintf(`a Redis server already runs on %s; this relay uses its own in-memory Redis on %s
To use that server, stop this relay and %s

SIDECAST_REDIS_URL=%s \
SIDECAST_CHANNELS='chat,chat:*' \
SIDECAST_PUBLIC_CHANNELS='chat,chat:*' \
SIDECAST_PUBLISH_CHANNELS=chat \
SIDECAST_DEFAULT_CHANNELS=chat \
SIDECAST_DEMO=true \
go run .

Open pages at http://localhost then, not as files: php -S localhost:8000 serves a directory.`, requested, actual, run, url)
}

// identify connects to addr and determines what kind of program answers.
func identify(addr string) portOwner {
	answers, connected := query(addr, "PING", pidCommand)
	switch {
	case !connected:
		return ownerNone
	case len(answers) == 0 || !isRedis(answers[0]):
		return ownerOther
	case len(answers) == 2 && strings.HasPrefix(answers[1], ":"):
		return ownerEmbedded
	case strings.HasPrefix(answers[0], "-NOAUTH "):
		return ownerLocked
	}
	return ownerRedis
}

// redisError matches the errors of a Redis that requires a password or is still
// loading its data: they begin with a code in capital letters.
var redisError = regexp.MustCompile(`^-[A-Z]+ `)

func isRedis(answer string) bool { return answer == "+PONG" || redisError.MatchString(answer) }

// askPID returns the process id of the in-memory Redis at addr. It returns
// false if no such Redis answers.
func askPID(addr string) (int, bool) {
	answers, _ := query(addr, pidCommand)
	if len(answers) == 0 {
		return 0, false
	}
	number, ok := strings.CutPrefix(answers[0], ":")
	n, err := strconv.Atoi(number)
	return n, ok && err == nil
}

// query sends commands without arguments to addr, one after the other. It
// returns the first line of each answer, up to the first failure, and whether
// the connection was accepted.
func query(addr string, commands ...string) (answers []string, connected bool) {
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
		line, err := reader.ReadSlice('\n') // fails if a line fills the buffer: Redis sends short ones
		if err != nil {
			return answers, true
		}
		answers = append(answers, strings.TrimRight(string(line), "\r\n"))
	}
	return answers, true
}
