package policy

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestConditionReads(t *testing.T) {
	inputs := map[string]Input{"rows": {Type: InputNumber}, "change-id": {Type: InputText}, "state": {Type: InputText}}
	for expr, want := range map[string]string{
		`request.duration <= duration("2h")`:                          "",
		`request.reason.startsWith("INC") || request.emergency`:       "reason",
		`request.ticket != "" && inputs.rows < 5`:                     "ticket rows",
		`has(inputs.rows) && inputs["change-id"].contains("CHG")`:     "change-id rows",
		`recent.all(inputs, inputs.state == "expired")`:               "",
		`recent.all(inputs, inputs.state == request.ticket)`:          "ticket",
		`open.all(e, e.role != role) && requester.name != "inputs.x"`: "",
	} {
		r, err := Condition{Expr: expr}.Reads(inputs)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		var got []string
		if r.Reason {
			got = append(got, "reason")
		}
		if r.Ticket {
			got = append(got, "ticket")
		}
		if got = append(got, slices.Sorted(maps.Keys(r.Inputs))...); strings.Join(got, " ") != want {
			t.Errorf("%s reads %q, want %q", expr, got, want)
		}
	}
	if _, err := (Condition{Expr: "inputs.none"}).Reads(inputs); err == nil {
		t.Error("a field that is not there is read")
	}
}
