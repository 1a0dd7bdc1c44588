//go:build !linux

package transport

// osKernel is the operating system's kernel, or nil if there is none for
// readers.
var osKernel Kernel
