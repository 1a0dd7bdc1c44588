package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"slices"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// TestSBOM: of the binary of this test, which is made of some modules as well.
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
		t.Fatal("the binary of the test is made of nothing")
	}
	a := about{name: "sidecast", version: "1.2.3", date: "2026-01-02T03:04:05Z", license: "MIT"}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := run(a, binary, out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same binary gave other bytes")
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(&first, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 || bom.Metadata.Component.Version != a.version || bom.Metadata.Timestamp != a.date {
		t.Errorf("it says %s, %s and %s", bom.SpecVersion, bom.Metadata.Component.Version, bom.Metadata.Timestamp)
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
		t.Errorf("it lists\n%q, want\n%q", got, want)
	}
	if linked := (*bom.Dependencies)[0].Dependencies; !slices.Equal(*linked, want) {
		t.Errorf("the product depends on %q", *linked)
	}
}

// TestNoBinary: what is none is told.
func TestNoBinary(t *testing.T) {
	if err := run(about{}, "main.go", new(bytes.Buffer)); err == nil {
		t.Error("a source file was taken for a binary")
	}
}
