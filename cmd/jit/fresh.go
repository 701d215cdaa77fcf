package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
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

// freshBack is how far back evidence is looked for beyond what a policy asks for.
const freshBack = 24 * time.Hour

// viewFresh looks at the resources of one reconciler, or of all where name is empty.
// It is what this copy of the store tells: the reconciler itself may know more.
func viewFresh(l *ledger.Ledger, name string, now time.Time) ([]freshView, error) {
	all := []freshView{}
	p := l.Policy()
	if p == nil {
		return all, nil
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
			answered, err := answeredOf(l, p, by, now.Add(-limit-freshBack), now)
			if err != nil {
				return nil, err
			}
			v := freshView{Resource: resource, Reconciler: by, Limit: int64(limit / time.Second), LimitText: formatLeft(now.Add(limit), now)}
			if !answered.IsZero() {
				age := int64(now.Sub(answered) / time.Second)
				text := formatLeft(now, answered)
				v.Fresh = now.Sub(answered) <= limit
				v.Answered, v.Age, v.AgeText = timeOrNull(answered), &age, &text
			}
			all = append(all, v)
		}
	}
	return all, nil
}

// answeredOf gives when a reconciler signed the newest record that others have seen.
func answeredOf(l *ledger.Ledger, p *policy.Policy, reconciler string, from, to time.Time) (newest time.Time, err error) {
	r, _ := p.Reconciler(reconciler)
	for _, key := range r.Keys {
		e, err := l.Evidence(key, from, to)
		if err != nil {
			return newest, err
		}
		if e.Answered.After(newest) {
			newest = e.Answered
		}
	}
	return newest, nil
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
func (o *doctorOptions) freshness(l *ledger.Ledger, name string, targets []string) {
	all, err := viewFresh(l, name, o.app.Now())
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
