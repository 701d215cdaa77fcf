// Package doctest holds the documents in docs/ to the code, so that they cannot
// rot: the example store is verified by jit and by stock git and gpg, what the
// pages show of it is what it holds, example policies pass the check, every
// reason code is explained, and every link, file and test that a page names is
// there. It owns docs/example.bundle too, which its tests make anew when asked:
//
//	go test ./cmd/jit/internal/doctest -run TestExampleStore -update
//
// It has tests only, and nothing imports it.
package doctest
