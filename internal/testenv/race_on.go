//go:build race

package testenv

// Raced reports whether this was built with the race detector, which makes what is
// written in Go ten times as slow, SQLite too, and watches one process at a time only.
const Raced = true
