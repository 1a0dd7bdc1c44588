// Package manifests tests the Helm chart, its dashboard and its alerts. It
// contains only tests.
//
//	go test ./...            in this directory
//	go test ./... -update    updates the golden files
package manifests
