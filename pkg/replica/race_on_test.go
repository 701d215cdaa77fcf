//go:build race

package replica_test

// each is how many records a writer appends. The race detector makes SQLite,
// which is Go here, ten times slower, and watches one process at a time only.
const each = 2
