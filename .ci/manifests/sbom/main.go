// Sbom prints a software bill of materials (SBOM) of a Go binary in the format
// CycloneDX 1.6 JSON. It lists the module of the binary, the modules linked
// into it and the standard library. The output depends only on the binary and
// the flags, so it is reproducible.
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

// A product describes the binary with data that it does not contain itself.
type product struct{ name, version, date, license string }

func main() {
	var p product
	flag.StringVar(&p.name, "name", "", "name of the product")
	flag.StringVar(&p.version, "version", "", "version of the product")
	flag.StringVar(&p.date, "date", "", "build time in RFC 3339 format")
	flag.StringVar(&p.license, "license", "", "SPDX identifier of the license")
	flag.Parse()
	if err := run(p, flag.Arg(0), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(p product, path string, out io.Writer) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the build information: %w", err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	encoder := cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := encoder.EncodeVersion(describe(p, info, sha256.Sum256(content)), cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("writing the SBOM: %w", err)
	}
	return nil
}

func describe(p product, info *debug.BuildInfo, sum [sha256.Size]byte) *cdx.BOM {
	application := cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: p.name, Version: p.version, BOMRef: p.name + "@" + p.version,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: p.license}}},
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}
	var properties []cdx.Property
	for _, setting := range info.Settings {
		if setting.Key == "GOOS" || setting.Key == "GOARCH" || setting.Key == "CGO_ENABLED" {
			properties = append(properties, cdx.Property{Name: "go:build:" + setting.Key, Value: setting.Value})
		}
	}
	application.Properties = &properties

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
	bom.Metadata = &cdx.Metadata{Timestamp: p.date, Component: &application}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: application.BOMRef, Dependencies: &linked}}
	return bom
}

// library returns the component of one module. sum, if not empty, is its hash
// in go.sum, which is not the hash of a file.
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

// serial returns a UUID that is derived from a hash (version 8 of RFC 9562, the
// version for custom formats).
func serial(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
