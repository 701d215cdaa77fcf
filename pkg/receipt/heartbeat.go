package receipt

import "github.com/jitaccess/jit/pkg/record"

// Heartbeat says nothing but that a reconciler was there: its head is the newest
// commit that it had seen. Another machine that finds there what it sent itself
// knows that it is shown the true history, and since when.
type Heartbeat struct {
	record.Head `yaml:",inline"`
}

// DecodeHeartbeat gives the heartbeat in v.
func DecodeHeartbeat(v record.Verified) (Heartbeat, error) {
	return record.Decode[Heartbeat](v, record.KindHeartbeat)
}
