package config

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"text/template"
)

// canary is part of every secret in these tests and must not appear in any
// output.
const canary = "hunter2canary16b" // long enough for ADMIN_TOKEN

// prints returns value in every form in which it could appear in a log, on a
// terminal or on a page.
func prints(t *testing.T, value any) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%p", "%b", "%o", "%e", "%U", "%c", "%10.3s"} {
		out[verb] = fmt.Sprintf(verb, value)
		// fmt does not call the methods of a value in an unexported field.
		out["unexported "+verb] = fmt.Sprintf(verb, struct{ inner any }{value})
	}
	b, err := json.Marshal(value)
	if err != nil {
		t.Errorf("JSON of %T: %v", value, err)
	}
	out["JSON"] = string(b)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "value", value, "group", slog.GroupValue(slog.Any("value", value)))
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "value", value)
	out["slog"] = logged.String()
	var page strings.Builder
	if err := template.Must(template.New("").Parse("{{.}} {{printf `%#v` .}}")).Execute(&page, value); err != nil {
		t.Error(err)
	}
	out["template"] = page.String()
	return out
}

func leaks(text string) bool {
	text = strings.ToLower(strings.ReplaceAll(text, " ", ""))
	return strings.Contains(text, canary) || strings.Contains(text, hex.EncodeToString([]byte(canary)))
}

// TestSecretsAreNeverShown checks that nothing that Load returns shows a
// secret, whatever the faults are and however it is printed.
func TestSecretsAreNeverShown(t *testing.T) {
	file := writeFile(t, "secret", canary+"\n")
	big := writeFile(t, "big", strings.Repeat(canary, maxSecretFile/len(canary)+1))
	for _, set := range [][]string{
		// No faults.
		{"REDIS_URL=redis://" + canary + ":" + canary + "@redis:6379/1", "REDIS_PASSWORD=" + canary, "ADMIN_TOKEN=" + canary},
		{"REDIS_URL=unix://:" + canary + "@/run/redis.sock", "ADMIN_TOKEN_FILE=" + file},
		// Each part of the URL has a fault.
		{"REDIS_URL=" + canary},
		{"REDIS_URL=:" + canary + "@redis:6379"},
		{"REDIS_URL=u:" + canary + "@redis:6379"},
		{"REDIS_URL=http://u:" + canary + "@redis:6379"},
		{"REDIS_URL=" + canary + "://redis:6379"},
		{"REDIS_URL=redis://u:" + canary + "%zz@redis"},
		{"REDIS_URL=redis://u:" + canary + "/@redis"},
		{"REDIS_URL=redis://u:12/" + canary + "@redis"},
		{"REDIS_URL=redis://u:12?" + canary + "@redis"},
		{"REDIS_URL=redis://u:12#" + canary + "@redis"},
		{"REDIS_URL=redis://u:" + canary + " @redis"},
		{"REDIS_URL=redis://u:" + canary + "@redis:notaport"},
		{"REDIS_URL=redis://u:" + canary + "@redis:99999"},
		{"REDIS_URL=redis://u:" + canary + "@"},
		{"REDIS_URL=redis://u:" + canary + "@a:6379,b:6379"},
		{"REDIS_URL=redis://redis/" + canary},
		{"REDIS_URL=redis://" + canary + "@redis"},
		{"REDIS_URL=redis://redis?password=" + canary},
		{"REDIS_URL=redis://redis?client_name=" + canary},
		{"REDIS_URL=redis://redis?db=" + canary},
		{"REDIS_URL=\x01" + canary + "://redis"},
		// Another setting has a fault.
		{"ADMIN_TOKEN=" + canary + " " + canary},
		{"REDIS_PASSWORD=" + canary + "\n"},
		{"ADMIN_TOKEN=" + canary, "ADMIN_TOKEN_FILE=" + file},
		{"ADMIN_TOKEN_FILE=" + big},
		// A key without its BEGIN line is in the variable for the path of its file.
		{"TLS_KEY=" + canary + "/+=="}, {"TLS_CERT=" + canary}, {"REDIS_CA=" + strings.Repeat(canary, 1000)}, {"JWT_PUBLIC_KEY=" + canary},
		// The secret is in the variable for the path of its file.
		{"ADMIN_TOKEN_FILE=" + canary, "REDIS_PASSWORD_FILE=/" + canary, "REDIS_URL_FILE=redis://:" + canary + "@redis"},
		// The secret is in a misspelt variable, or in a variable without the
		// prefix.
		{"REDIS_PASWORD=" + canary, "JWT_SECRET=" + canary + canary, "PORT=" + canary},
		// The secret is in another URL.
		{"ALLOWED_ORIGINS=https://u:" + canary + "@a.example.com"},
		{"ALLOWED_ORIGINS=u:" + canary + "@a.example.com"},
		{"ALLOWED_ORIGINS=https://u:" + canary + "%zz@a.example.com"},
	} {
		setenv(t, env(set...))
		c, warnings, err := Load()
		for what, value := range map[string]any{
			"Config": c, "Config value": *c, "error": err, "warnings": warnings, "Effective": c.Effective(),
			"secret": c.AdminToken, "URL": c.RedisURL, "Redis": c.Redis,
		} {
			for how, text := range prints(t, value) {
				if leaks(text) {
					t.Errorf("%.60q: the %s shows it through %s: %s", set, what, how, text)
				}
			}
		}
		if err != nil && leaks(err.Error()) {
			t.Errorf("%.60q: the error shows it: %v", set, err)
		}
	}
}

// TestPrintsShowsStrings checks that the test above can fail: it finds an
// ordinary string in every form, except those for numbers.
func TestPrintsShowsStrings(t *testing.T) {
	seen := 0
	for _, text := range prints(t, canary) {
		if leaks(text) {
			seen++
		}
	}
	if seen < 20 {
		t.Errorf("only %d forms show a string", seen)
	}
}

func TestSecretReveals(t *testing.T) {
	c := mustLoad(t, env("REDIS_URL=redis://u:pw@redis/1", "CHANNELS=*", "PUBLIC_CHANNELS=*", "REDIS_PASSWORD=  p w  "))
	if got := c.RedisPassword.Reveal(); got != "  p w  " {
		t.Errorf("password %q, want it with its white space", got)
	}
	if got := c.RedisURL.Reveal(); got != "redis://u:pw@redis/1" {
		t.Errorf("URL %q", got)
	}
	if got := c.RedisURL.String(); got != "redis://[redacted]@redis/1" {
		t.Errorf("shown as %q", got)
	}
	if c.AdminToken.IsSet() || c.AdminToken.Reveal() != "" || c.AdminToken.String() != "" || !c.RedisPassword.IsSet() {
		t.Error("unset and set are confused")
	}
	if got := fmt.Sprint(NewSecret("x")); got != redacted {
		t.Errorf("shown as %q", got)
	}
}

// TestSecretFiles checks that reading a secret from a file removes one line
// break and changes nothing else.
func TestSecretFiles(t *testing.T) {
	for _, tt := range []struct{ comment, text, want string }{
		{"no line break", "s3cret", "s3cret"},
		{"the line break that editors add", "s3cret\n", "s3cret"},
		{"the line break that editors on Windows add", "s3cret\r\n", "s3cret"},
		{"only one line break is removed", "s3cret\n\n", "s3cret\n"},
		{"a carriage return alone is kept", "s3cret\r", "s3cret\r"},
		{"white space is kept", " s3cret ", " s3cret "},
		{"the largest file", strings.Repeat("x", maxSecretFile), strings.Repeat("x", maxSecretFile)},
	} {
		c := mustLoad(t, env(append([]string{"REDIS_PASSWORD_FILE=" + writeFile(t, "secret", tt.text)}, realRedis...)...))
		if got := c.RedisPassword.Reveal(); got != tt.want {
			t.Errorf("%s: read %.20q, want %.20q", tt.comment, got, tt.want)
		}
		if !c.IsSet("REDIS_PASSWORD") || !effective(t, c, "REDIS_PASSWORD").FromEnv {
			t.Errorf("%s: the setting does not count as set", tt.comment)
		}
	}
}

// TestEverySecretAsFile checks that every secret can be read from a file, and
// that a URL in a file ends embedded mode like a URL in the environment.
func TestEverySecretAsFile(t *testing.T) {
	file := writeFile(t, "secret", "redis://:a-password-of-32-bytes@redis\n")
	count := 0
	for _, s := range settings() {
		if !s.secret {
			continue
		}
		count++
		variables := env("CHANNELS=*", "PUBLIC_CHANNELS=*", "REDIS_URL=redis://redis")
		if current, isPrevious := strings.CutSuffix(s.name, "_PREVIOUS_SECRET"); isPrevious {
			variables[Prefix+current+"_SECRET"] = longSecret
		}
		if s.name == "PUSHER_SECRET" {
			variables[Prefix+"PUSHER_KEY"] = "key"
		}
		if s.name == "EVENTS_SECRET" {
			variables[Prefix+"EVENTS_URL"] = "http://app"
		}
		if s.name == "REDIS_SENTINEL_PASSWORD" {
			variables[Prefix+"REDIS_MODE"], variables[Prefix+"REDIS_URL"] = "sentinel", "redis://redis?master_name=main"
		}
		delete(variables, s.variable())
		variables[s.variable()+fileSuffix] = file
		c := mustLoad(t, variables)
		got := s.value(c).Interface().(interface{ Reveal() string }).Reveal()
		if got != "redis://:a-password-of-32-bytes@redis" || c.IsEmbedded() {
			t.Errorf("%s: read %q, embedded %v", s.name, got, c.IsEmbedded())
		}
	}
	if count != 11 {
		t.Errorf("%d secrets, want REDIS_URL, REDIS_PASSWORD, REDIS_SENTINEL_PASSWORD, and the secrets and tokens of JWT, CHANNEL, PUSHER, EVENTS, ADMIN and PUBLISH", count)
	}
}

// TestReread checks that a new password in the file is returned, and that
// errors do not contain the path.
func TestReread(t *testing.T) {
	path := writeFile(t, "password", "old\n")
	c := mustLoad(t, env(append([]string{"REDIS_PASSWORD_FILE=" + path}, realRedis...)...))
	if !c.FromFile("REDIS_PASSWORD") || c.FromFile("REDIS_URL") {
		t.Error("FromFile confuses two settings")
	}
	for _, tt := range []struct{ content, want string }{{"old\n", "old"}, {"new", "new"}, {" \n", ""}, {strings.Repeat("x", maxSecretFile+1), ""}} {
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Reread("REDIS_PASSWORD"); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%.10q: read %q, %v", tt.content, got, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reread("REDIS_PASSWORD"); err == nil || strings.Contains(err.Error(), path) {
		t.Errorf("without the file: %v", err)
	}
}

func TestSecretFileFaults(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the reasons are those of Unix")
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		comment string
		set     []string
		want    string
	}{
		{"both", []string{"ADMIN_TOKEN=a", "ADMIN_TOKEN_FILE=" + writeFile(t, "s", "a")},
			`is set together with SIDECAST_ADMIN_TOKEN_FILE; unset one of them`},
		{"both, and the file is missing", []string{"ADMIN_TOKEN=a", "ADMIN_TOKEN_FILE=" + filepath.Join(dir, "none")},
			`is set together with SIDECAST_ADMIN_TOKEN_FILE; unset one of them`},
		{"missing", []string{"ADMIN_TOKEN_FILE=" + filepath.Join(dir, "none")},
			`the file that SIDECAST_ADMIN_TOKEN_FILE names cannot be read: no such file or directory; write the path of a file that this user can read`},
		{"a directory", []string{"ADMIN_TOKEN_FILE=" + dir},
			`the file that SIDECAST_ADMIN_TOKEN_FILE names cannot be read: is a directory; write the path of a file that this user can read`},
		{"too large", []string{"ADMIN_TOKEN_FILE=" + writeFile(t, "s", strings.Repeat("x", maxSecretFile+1))},
			`the file that SIDECAST_ADMIN_TOKEN_FILE names is larger than 64 KiB; write the path of a file that contains only the secret`},
		{"endless", []string{"ADMIN_TOKEN_FILE=/dev/zero"},
			`the file that SIDECAST_ADMIN_TOKEN_FILE names is larger than 64 KiB; write the path of a file that contains only the secret`},
		{"empty", []string{"ADMIN_TOKEN_FILE=" + writeFile(t, "s", "\n")},
			`the file that SIDECAST_ADMIN_TOKEN_FILE names is empty; write the secret into it`},
		{"not fit for a header", []string{"ADMIN_TOKEN_FILE=" + writeFile(t, "s", longSecret+"\n\n")},
			`contains white space or characters that are not ASCII, which an HTTP header cannot contain; write only printable ASCII characters`},
	} {
		want := "SIDECAST_ADMIN_TOKEN: " + tt.want
		if got := faultsOf(t, env(tt.set...)).Error(); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.comment, got, want)
		}
	}
}
