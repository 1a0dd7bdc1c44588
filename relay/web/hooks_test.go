package web_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// copyInto copies files of the client's tests.
func copyInto(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join("client/test", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(content))
	}
}

// run runs a program and fails the test if the program fails.
func run(t *testing.T, dir, name string, arguments ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, arguments...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v\n%s", name, arguments, err, output)
	}
}

// The hooks work with the real React and Vue, and are short.
func TestHooks(t *testing.T) {
	t.Parallel()
	dir := npmInstall(t, "react@19", "react-dom@19", "vue@3", "jsdom@26", "typescript@5")
	copyInto(t, dir, "compile.mjs", "dom.mjs", "fake.mjs", "react.hooks.mjs", "vue.hooks.mjs")
	write(t, filepath.Join(dir, "readme.jsx"), readmeSnippet(t, "jsx", ""))
	write(t, filepath.Join(dir, "readme.vue"), readmeSnippet(t, "vue", ""))
	run(t, dir, "node", "compile.mjs", "readme.vue", "readme.vue.mjs")
	run(t, dir, "npx", "--no-install", "tsc", "readme.jsx", "--allowJs", "--noCheck", "--jsx", "react-jsx", "--module", "nodenext", "--outDir", ".")
	for _, library := range []string{"react", "vue"} {
		t.Run(library, func(t *testing.T) {
			run(t, dir, "node", "--test", library+".hooks.mjs")
			source, err := os.ReadFile("client/" + library + ".mjs")
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), "\n"); n >= 60 {
				t.Errorf("%s.mjs has %d lines", library, n)
			}
		})
	}
}

// The package has the files that its README and its exports name, and no tests.
func TestPackage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(npmInstall(t), "node_modules", "sidecast")
	var packed []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			packed = append(packed, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"LICENSE", "README.md", "package.json", "react.d.ts", "react.mjs",
		"sidecast-echo.d.ts", "sidecast-echo.js", "sidecast-echo.mjs", "sidecast-extra.mjs", "sidecast-share.mjs", "sidecast-sse.d.ts", "sidecast-sse.mjs",
		"sidecast.d.ts", "sidecast.js", "sidecast.mjs", "vue.d.ts", "vue.mjs",
	}
	if !slices.Equal(packed, want) {
		t.Errorf("the package contains %q, want %q", packed, want)
	}
	// jsDelivr would serve this file at /npm/sidecast, where
	// "./sidecast-sse.mjs" is another package.
	if manifest, err := os.ReadFile(filepath.Join(dir, "package.json")); err != nil || bytes.Contains(manifest, []byte("jsdelivr")) {
		t.Errorf("package.json names a file for jsDelivr, or: %v", err)
	}
	license, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	if ours, err := os.ReadFile("../../LICENSE"); err != nil || !bytes.Equal(license, ours) {
		t.Errorf("the license of the package is not that of the repository: %v", err)
	}
}

// TypeScript programs compile against the types, with both ways in which
// TypeScript finds them, and wrong ones do not.
func TestTypes(t *testing.T) {
	t.Parallel()
	dir := npmInstall(t, "typescript@5", "laravel-echo@2", "pusher-js@8", "react@19", "@types/react@19", "vue@3", "ws@8", "@types/ws@8", "@types/node@22")
	copyInto(t, dir, "types.ts")
	for _, resolution := range [][]string{{"--module", "nodenext"}, {"--module", "esnext", "--moduleResolution", "bundler"}} {
		run(t, dir, "npx", append([]string{"--no-install", "tsc", "--strict", "--skipLibCheck", "--noEmit", "--target", "es2022", "types.ts"}, resolution...)...)
	}
}
