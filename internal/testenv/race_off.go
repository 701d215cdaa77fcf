//go:build !race

package testenv

// Raced reports whether this was built with the race detector.
const Raced = false
