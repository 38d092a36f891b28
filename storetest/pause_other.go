//go:build !unix

package storetest

// pauseCases need SIGSTOP.
func pauseCases() []testCase { return nil }
