//go:build !race

package replica_test

// each is how many records a writer appends.
const each = 20
