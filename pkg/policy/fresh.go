package policy

import "time"

// Evidence gives how young the evidence must be kept that the store is the true one
// for access to the resource to open and stay open: the shorter of Freshness and
// Lease; zero where neither is asked for.
func (r Resource) Evidence() time.Duration {
	switch fresh, lease := r.Freshness.Duration, r.Lease.Duration; {
	case fresh == 0:
		return lease
	case lease == 0:
		return fresh
	default:
		return min(fresh, lease)
	}
}

// Evidence gives the shortest of [Resource.Evidence] over the resources of a
// reconciler that also, which may be nil, picks; zero where none asks for any.
func (p *Policy) Evidence(reconciler string, also func(resource string) bool) (shortest time.Duration) {
	for _, name := range p.doc.Reconcilers[reconciler].Resources {
		d := p.doc.Resources[name].Evidence()
		if d > 0 && (shortest == 0 || d < shortest) && (also == nil || also(name)) {
			shortest = d
		}
	}
	return shortest
}
