package ledger

// InBulk makes a ledger fold histories in bulk from so many commits on, and keep
// what is done after so many.
func (l *Ledger) InBulk(from, chunk int) { l.bulkFrom, l.chunk = from, chunk }
