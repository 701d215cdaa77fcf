package approve

import (
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// stages fills the chain of the i-th grant under p, and notes in counts the
// approvals that it takes. Each is taken by the first stage that is not full at
// its place in the history, where its signer is eligible there; one person
// counts once over all stages, under whatever name or key.
func (v *verdict) stages(p *policy.Policy, grant int, standings []Standing, upTo place, counts []bool) []StageDecision {
	m := v.view(p).matches[grant]
	var chain []StageDecision
	for _, s := range m.Rule.Stages {
		chain = append(chain, StageDecision{Count: s.Count})
	}
	r := v.c.Request
	requester := identities(p, r.Record.By, r.Key)
	have := map[string]bool{}
	current := 0
	for i, a := range v.c.Approvals {
		if upTo.before(a.place()) || current == len(chain) {
			break
		}
		switch standings[i].Why {
		case "", policy.OwnRequest, policy.BasisChanged, policy.StageNotOpen, policy.CountedOnce: // for another grant, perhaps
		default:
			continue
		}
		who := identities(p, a.Record.By, a.Key)
		rest := v.restOf(i, grant)
		switch {
		case who.any(func(name string) bool { return name == requester[0] || name == requester[1] }):
			standings[i].Why = policy.OwnRequest
		case !rest.ok || rest.basis != m.Basis:
			standings[i].Why = policy.BasisChanged
		case who.any(func(name string) bool { return have[name] }):
			standings[i].Why = policy.CountedOnce
		case !v.history.At(a.Position).MayApprove(m.Rule.Stages[current], a.Record.By, r.Record.By):
			standings[i].Why = policy.StageNotOpen
		default:
			have[who[0]], have[who[1]] = true, true
			counts[i] = true
			chain[current].Have = append(chain[current].Have, a.Record.By)
			if chain[current].Missing() == 0 {
				current++
			}
		}
	}
	return chain
}

// names are those by which a person is known: the one signed with, and the one
// that a policy gives to the owner of the key. They differ after a change of
// name, which must not make two people of one.
type names [2]string

func identities(p *policy.Policy, by string, key record.Fingerprint) names {
	if owner, ok := p.OwnerOf(key); ok {
		return names{by, owner}
	}
	return names{by, by}
}

func (n names) any(is func(string) bool) bool { return is(n[0]) || is(n[1]) }

// rest is what an approval of a grant rests on; not ok where nothing did.
type rest struct {
	basis policy.Basis
	ok    bool
}

// restOf is what an approval rested on when it was signed, as far as it still
// was the same at its place in the history.
func (v *verdict) restOf(approval, grant int) rest {
	if v.rested == nil {
		for _, a := range v.c.Approvals {
			v.rested = append(v.rested, v.rests(a))
		}
	}
	return v.rested[approval][grant]
}

func (v *verdict) rests(a Placed[Approval]) []rest {
	all := make([]rest, len(v.c.Request.Record.Grants))
	at, seen := v.history.At(a.Position), v.history.At(a.HeadAt)
	if at == nil || seen == nil {
		return all
	}
	then, was := v.view(at), v.view(seen)
	for i := range all {
		if then.errs[i] == nil && was.errs[i] == nil && then.matches[i].Basis == was.matches[i].Basis {
			all[i] = rest{then.matches[i].Basis, true}
		}
	}
	return all
}
