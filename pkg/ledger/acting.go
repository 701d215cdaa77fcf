package ledger

import "time"

// Acting gives those for whom a person acts as an approver at a time.
func (l *Ledger) Acting(person string, at time.Time) []string { return nil }
