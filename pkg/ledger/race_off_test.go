//go:build !race

package ledger_test

// storesByDefault is how many stores an ordinary run of TestProperty makes.
const storesByDefault = 300
