// Package manifests checks what packages Sidecast: the chart in helm, its dashboard and its alerts. It has tests only.
//
//	go test ./...            in this directory
//	go test ./... -update    writes the golden files anew
package manifests
