package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/target"
)

// Sharing gives the targets of c in whose places the policy's roles would let people in
// as somebody else: what a driver writes into one file for two accounts is good for
// both. The errors, by resource, are of type [*target.Error], [target.BadSetting].
func Sharing(c Config, p *policy.Policy, kinds map[string]target.Kind) map[string]error {
	if p == nil {
		return nil
	}
	type use struct{ account, resource, role string }
	places := map[string][]use{}
	for name, t := range c.Targets {
		res, ok := p.Resource(name)
		kind := kinds[res.Driver]
		if !ok || kind.Place == nil {
			continue
		}
		for role, r := range res.Roles {
			place, account := kind.Place(t.Settings, r.Parameters)
			places[place] = append(places[place], use{account, name, role})
		}
	}
	shared := map[string]error{}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		uses := places[place]
		slices.SortFunc(uses, func(a, b use) int {
			return strings.Compare(a.account+" "+a.resource+":"+a.role, b.account+" "+b.resource+":"+b.role)
		})
		first, last := uses[0], uses[len(uses)-1]
		if first.account == last.account {
			continue
		}
		for _, u := range uses {
			shared[u.resource] = &target.Error{
				Reason: target.BadSetting,
				Detail: fmt.Sprintf("%q would hold what lets people in as %q (%s:%s) and as %q (%s:%s), for both",
					place, first.account, first.resource, first.role, last.account, last.resource, last.role),
				Hint: "give each account a file of its own: %u in the setting file stands for the account",
			}
		}
	}
	return shared
}
