package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"slices"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// TestSBOM checks the SBOM of the test binary, which contains several modules.
func TestSBOM(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) == 0 {
		t.Fatal("the test binary contains no modules")
	}
	p := product{name: "sidecast", version: "1.2.3", date: "2026-01-02T03:04:05Z", license: "MIT"}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := run(p, binary, out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two runs on the same binary returned different bytes")
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(&first, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 || bom.Metadata.Component.Version != p.version || bom.Metadata.Timestamp != p.date {
		t.Errorf("the SBOM contains %s, %s and %s", bom.SpecVersion, bom.Metadata.Component.Version, bom.Metadata.Timestamp)
	}
	var got, want []string
	for _, component := range *bom.Components {
		got = append(got, component.PackageURL)
	}
	want = append(want, "pkg:golang/std@"+info.GoVersion[len("go"):])
	for _, module := range info.Deps {
		want = append(want, "pkg:golang/"+module.Path+"@"+module.Version)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the components are\n%q, want\n%q", got, want)
	}
	if linked := (*bom.Dependencies)[0].Dependencies; !slices.Equal(*linked, want) {
		t.Errorf("the product depends on %q", *linked)
	}
}

// TestNotABinary checks that run returns an error for a file that is not a Go
// binary.
func TestNotABinary(t *testing.T) {
	if err := run(product{}, "main.go", new(bytes.Buffer)); err == nil {
		t.Error("run accepted a source file")
	}
}
