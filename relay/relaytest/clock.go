package relaytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// StartShifted is [Start] for a process whose wall clock is wrong by offset, in
// whole seconds, and whose monotonic clock is right, as on a machine whose
// clock was set wrongly. The binary is built with another time.Now, once per
// test process. The first build on a machine compiles the standard library,
// which takes a minute or two.
func StartShifted(t testing.TB, offset time.Duration, env map[string]string) *Process {
	t.Helper()
	path, err := buildShifted()
	if err != nil {
		t.Fatal(err)
	}
	env = maps.Clone(env)
	if env == nil {
		env = make(map[string]string)
	}
	env[clockVariable] = strconv.Itoa(int(offset / time.Second))
	return start(t, path, env)
}

// clockVariable is the environment variable with the offset, in seconds, of a
// shifted binary.
const clockVariable = "RELAYTEST_CLOCK_SECONDS"

var buildShifted = sync.OnceValues(func() (string, error) {
	overlay, err := shiftedClock()
	if err != nil {
		return "", fmt.Errorf("changing package time: %w", err)
	}
	return buildInto("sidecast-shifted", "-overlay", overlay)
})

// shiftedClock writes a source file for package time whose Now adds the offset,
// and returns an overlay file for go build.
func shiftedClock() (overlay string, err error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const reading = "sec, nsec, mono := runtimeNow()\n"
	text := string(source)
	begin := strings.Index(text, "func Now() Time {")
	if begin < 0 || !strings.HasPrefix(strings.TrimSpace(text[begin+len("func Now() Time {"):]), reading) {
		return "", errors.New("time.Now has changed; update the replacement in shiftedClock")
	}
	text = text[:begin] + strings.Replace(text[begin:], reading, reading+"\tsec += clockOffset\n", 1) + clockSource
	text = strings.Replace(text, "import (", "import (\n\t\"syscall\"", 1)
	changed := filepath.Join(dir, "time.go")
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o600)
}

// clockSource reads the offset with what package time may import.
const clockSource = `
var clockOffset = func() (offset int64) {
	value, _ := syscall.Getenv("` + clockVariable + `")
	sign := int64(1)
	for i, c := range []byte(value) {
		switch {
		case i == 0 && c == '-':
			sign = -1
		case c >= '0' && c <= '9':
			offset = 10*offset + int64(c-'0')
		}
	}
	return sign * offset
}()
`
