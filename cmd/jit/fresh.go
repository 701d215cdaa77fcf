package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
)

// freshView is how old the evidence is, for one reconciler of a resource whose policy
// asks for some, that the store is the true one.
type freshView struct {
	Resource   string  `json:"resource"`
	Reconciler string  `json:"reconciler"`
	Fresh      bool    `json:"fresh"`
	Answered   *string `json:"answered"`
	Age        *int64  `json:"age"`
	AgeText    *string `json:"ageText"`
	Limit      int64   `json:"limit"`
	LimitText  string  `json:"limitText"`
}

// viewFresh looks at the resources of one reconciler, or of all where name is empty.
// Its key is the one that it has signed with last, where none is given. It is what this
// copy of the store tells: the reconciler itself may know more.
func viewFresh(l *ledger.Ledger, name string, key record.Fingerprint, now time.Time) ([]freshView, error) {
	all := []freshView{}
	p := l.Policy()
	if p == nil {
		return all, nil
	}
	sights, err := l.Sights()
	if err != nil {
		return nil, err
	}
	for _, resource := range p.Resources() {
		res, _ := p.Resource(resource)
		limit := res.Evidence()
		if limit == 0 {
			continue
		}
		for _, by := range sortedKeys(p.Document().Reconcilers) {
			if !p.Reconciles(by, resource) || name != "" && by != name {
				continue
			}
			signs := key
			if signs == "" {
				signs = keyInUse(sights, p, by)
			}
			answered, err := reconcile.Answered(l, signs, limit, now)
			if err != nil {
				return nil, err
			}
			v := freshView{Resource: resource, Reconciler: by, Limit: int64(limit / time.Second), LimitText: formatLeft(now.Add(limit), now)}
			if !answered.IsZero() {
				age := int64(now.Sub(answered) / time.Second)
				text := formatLeft(now, answered)
				v.Fresh = reconcile.Stale(res, answered, now) == nil
				v.Answered, v.Age, v.AgeText = timeOrNull(answered), &age, &text
			}
			all = append(all, v)
		}
	}
	return all, nil
}

// keyInUse gives the key that a reconciler has signed with last; empty for none.
func keyInUse(sights []ledger.Sight, p *policy.Policy, reconciler string) (key record.Fingerprint) {
	r, _ := p.Reconciler(reconciler)
	newest := 0
	for _, s := range sights {
		if s.Position > newest && slices.Contains(r.Keys, s.Key) {
			key, newest = s.Key, s.Position
		}
	}
	return key
}

// String says it in one line.
func (v freshView) String() string {
	switch {
	case v.Answered == nil:
		return fmt.Sprintf("%s by %s: nobody has answered it yet, and the policy asks for an answer within %s", v.Resource, v.Reconciler, v.LimitText)
	case !v.Fresh:
		return fmt.Sprintf("%s by %s: last answered %s ago, and the policy asks for an answer within %s", v.Resource, v.Reconciler, *v.AgeText, v.LimitText)
	}
	return fmt.Sprintf("%s by %s: answered %s ago, within %s", v.Resource, v.Reconciler, *v.AgeText, v.LimitText)
}

func (a *App) renderFresh(w io.Writer, all []freshView) {
	st := a.IO.OutStyle()
	for _, v := range all {
		word, line := "fresh", clean(v.String())
		if !v.Fresh {
			word, line = "not fresh", st.Warn(line)
		}
		fmt.Fprintf(w, "%-9s %s\n", word, line)
	}
}

// freshness tells how old the evidence is for the resources that this reconciler
// works on.
func (o *doctorOptions) freshness(l *ledger.Ledger, name string, signer record.Signer, targets []string) {
	var key record.Fingerprint
	if signer != nil {
		key = signer.Fingerprint()
	}
	all, err := viewFresh(l, name, key, o.app.Now())
	if err != nil {
		o.failed("fresh", err)
		return
	}
	for _, v := range all {
		switch {
		case !slices.Contains(targets, v.Resource):
		case v.Fresh:
			o.good("fresh", "%s", v)
		default:
			o.warn("fresh", "another reconciler must run, or somebody sign a record: nothing opens there until then", "%s", v)
		}
	}
}
