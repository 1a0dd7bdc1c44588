package config

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files and the table in README.md")

func TestTables(t *testing.T) {
	for name, table := range map[string]func(io.Writer) error{"help.txt": HelpTable, "settings.md": markdownTable} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := table(&got); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the table differs from %s; if that is intended: go test ./config -update\n%s", golden, &got)
			}
		})
	}
}

// TestHelpTableWidth checks that the lines fit a terminal of 100 columns, and
// that there is a space between a name and its description.
func TestHelpTableWidth(t *testing.T) {
	var table strings.Builder
	if err := HelpTable(&table); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(table.String()) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > helpWidth {
			t.Errorf("%d columns: %s", len(line), line)
		}
		if len(line) > helpColumn && strings.HasPrefix(line, "  ") && line[helpColumn-1] != ' ' {
			t.Errorf("no space between the columns: %s", line)
		}
	}
}

const (
	readme     = "README.md"
	tableBegin = "<!-- settings -->\n"
	tableEnd   = "<!-- /settings -->"
)

// TestReadme: the table of settings in README.md is the generated one.
func TestReadme(t *testing.T) {
	var table strings.Builder
	if err := markdownTable(&table); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(b), tableBegin)
	got, after, hasEnd := strings.Cut(rest, tableEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s needs a line %q and, after it, a line %q", readme, strings.TrimSpace(tableBegin), tableEnd)
	}
	if strings.TrimSpace(got) == strings.TrimSpace(table.String()) {
		return
	}
	if !*update {
		t.Fatalf("the table of settings in %s differs from the generated one; to write it: go test ./config -update", readme)
	}
	text := before + tableBegin + "\n" + table.String() + "\n" + tableEnd + after
	if err := os.WriteFile(readme, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// markdownTable writes all settings and their defaults as one Markdown table.
func markdownTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	heading := ""
	for _, s := range settings() {
		if s.heading != heading {
			heading = s.heading
			fmt.Fprintf(&b, "| **%s** | | |\n", heading)
		}
		defaults := cmp.Or(s.defaults(code), "unset")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.variable(), defaults, markdown(s.description()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// literals finds the parts of a description that users type: a text in single
// quotes, or the name of a variable.
var literals = regexp.MustCompile(`'([^' ]+)'|\b(` + Prefix + `[A-Z_]+)\b`)

// markdown formats a description as Markdown, with the parts that users type as
// code.
func markdown(text string) string {
	return literals.ReplaceAllStringFunc(text, func(found string) string { return code(strings.Trim(found, "'")) })
}

// code formats text as code in a cell of a table, where a bar must be escaped
// even in code.
func code(text string) string { return "`" + strings.ReplaceAll(text, "|", `\|`) + "`" }
