// Sbom prints what a Go binary is made of, as CycloneDX 1.6 in JSON: the module of the binary, those that are linked into
// it, and the standard library. It reads nothing but the binary, so the same binary gives the same bytes.
//
//	go run ./sbom -name sidecast -version 1.2.3 -date 2026-01-02T03:04:05Z -license MIT BINARY
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// about is what the binary does not say of itself.
type about struct{ name, version, date, license string }

func main() {
	var a about
	flag.StringVar(&a.name, "name", "", "the product")
	flag.StringVar(&a.version, "version", "", "its version")
	flag.StringVar(&a.date, "date", "", "when it was made, in RFC 3339")
	flag.StringVar(&a.license, "license", "", "its license, an SPDX identifier")
	flag.Parse()
	if err := run(a, flag.Arg(0), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(a about, path string, out io.Writer) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading what the binary says: %w", err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	encoder := cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := encoder.EncodeVersion(describe(a, info, sha256.Sum256(content)), cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func describe(a about, info *debug.BuildInfo, sum [sha256.Size]byte) *cdx.BOM {
	product := cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: a.name, Version: a.version, BOMRef: a.name + "@" + a.version,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: a.license}}},
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}
	var properties []cdx.Property
	for _, setting := range info.Settings {
		if setting.Key == "GOOS" || setting.Key == "GOARCH" || setting.Key == "CGO_ENABLED" {
			properties = append(properties, cdx.Property{Name: "go:build:" + setting.Key, Value: setting.Value})
		}
	}
	product.Properties = &properties

	components := []cdx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		components = append(components, library(module.Path, module.Version, module.Sum))
	}
	var linked []string
	for _, component := range components {
		linked = append(linked, component.BOMRef)
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = serial(sum)
	bom.Metadata = &cdx.Metadata{Timestamp: a.date, Component: &product}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: product.BOMRef, Dependencies: &linked}}
	return bom
}

// library is one module. Its sum, if any, is that of go.sum, which is no hash of a file.
func library(path, version, sum string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + version
	c := cdx.Component{
		Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl, BOMRef: purl,
		Scope: cdx.ScopeRequired,
	}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}

// serial makes a UUID of a hash (version 8 of RFC 9562, whose bits are the maker's own).
func serial(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
