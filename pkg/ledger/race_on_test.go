//go:build race

package ledger_test

// storesByDefault is how many stores an ordinary run of TestProperty makes: fewer
// under the race detector, which makes each ten times as dear.
const storesByDefault = 100
