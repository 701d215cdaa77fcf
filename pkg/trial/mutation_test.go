package trial

import (
	"slices"
	"strings"
	"testing"
)

// TestChangedExamplesFail changes one thing at a time in each example, and wants
// its table to notice.
func TestChangedExamplesFail(t *testing.T) {
	for _, m := range []struct{ example, name, old, new string }{
		{"startup", "figures take longer", "requesters: [\"*\"]\n    maxDuration: 1d", "requesters: [\"*\"]\n    maxDuration: 2d"},
		{"startup", "anybody deploys", "roles: [deploy]\n    requesters: [team:engineering]", "roles: [deploy]\n    requesters: [\"*\"]"},
		{"startup", "two deploy at once", "maxOpenPerRole: 1", "maxOpenPerRole: 2"},
		{"startup", "founders are asked later", "{after: 1h, to: [team:founders]}", "{after: 2h, to: [team:founders]}"},
		{"startup", "reasons of any length", "reason: \".{10,}\"\n    stages:\n      - approvers: [team:engineering]", "reason: \".+\"\n    stages:\n      - approvers: [team:engineering]"},
		{"startup", "no cooling-off", "    coolingOff: 30m\n", ""},
		{"startup", "engineers approve changes", "      - approvers: [team:founders]\n        count: 1\n    emergency", "      - approvers: [team:engineering]\n        count: 1\n    emergency"},
		{"startup", "acknowledged later", "acknowledge: 1d", "acknowledge: 2d"},
		{"startup", "support is not told", "  - name: support-asks-engineering", "  - name: nobody-asks"},
		{"startup", "deploying on Saturdays", "days: [mon, tue, wed, thu, fri]", "days: [mon, tue, wed, thu, fri, sat]"},

		{"bank", "external staff see what is critical", "labels: {sensitivity: critical}\n    requesters: [department:external]", "labels: {sensitivity: low}\n    requesters: [department:external]"},
		{"bank", "one pair of eyes releases", "count: 2\n\n  # 5.", "count: 1\n\n  # 5."},
		{"bank", "managers release", "exclude: [managers, delegates]", "exclude: [delegates]"},
		{"bank", "who makes a payment releases it", "between: [\"payments-db:readwrite\", \"ledger-db:release\"]", "between: [\"payments-db:readwrite\", \"ledger-db:readwrite\"]"},
		{"bank", "one of the board is enough", "- {approvers: [group:change-board], count: 2}\n    # When", "- {approvers: [group:change-board], count: 1}\n    # When"},
		{"bank", "the owner is not asked", "- {approvers: [owner], count: 1}\n          - {approvers: [group:change-board], count: 2}\n    # When", "- {approvers: [group:change-board], count: 2}\n    # When"},
		{"bank", "the manager has all day", "        expire: 6h\n", ""},
		{"bank", "reports approve", "    askDuring: changes\n    exclude: [reports]\n    requires:\n      ticket: \"CHG[0-9]{7}\"\n    stages", "    askDuring: changes\n    requires:\n      ticket: \"CHG[0-9]{7}\"\n    stages"},
		{"bank", "any two of the board or the owner", "      - anyOf:\n          - {approvers: [owner], count: 1}", "      - anyOf:\n          - {approvers: [lena], count: 1}"},
		{"bank", "planned two weeks ahead", "maxDuration: 1h\n    maxAhead: 7d", "maxDuration: 1h\n    maxAhead: 14d"},
		{"bank", "another manager", "georg: {name: Georg Thaler, email: georg@bank.example, department: payments, manager: dora", "georg: {name: Georg Thaler, email: georg@bank.example, department: payments, manager: emil"},
		{"bank", "another freeze", "until: \"2027-01-04\"", "until: \"2027-01-03\""},
		{"bank", "the settlement takes an hour", "duration(\"30m\")", "duration(\"60m\")"},

		{"on-call", "a longer shift", "maxDuration: 12h", "maxDuration: 13h"},
		{"on-call", "another shift", "until: 2026-11-30T08:00:00Z, people: [pavel]", "until: 2026-11-30T07:00:00Z, people: [pavel]"},
		{"on-call", "the second at once", "- approvers: [roster:primary]\n        count: 1", "- approvers: [roster:primary, roster:secondary]\n        count: 1"},
		{"on-call", "the second later", "{after: 10m, to: [roster:secondary]}", "{after: 15m, to: [roster:secondary]}"},
		{"on-call", "another lead", "backend: {leads: [tess]}", "backend: {leads: [umar]}"},
		{"on-call", "everybody stands in", "  to: [team:sre]", "  to: [\"*\"]"},
		{"on-call", "delegates change data", "    exclude: [delegates]\n", ""},
		{"on-call", "an emergency is not looked at", "      acknowledgers: [team-lead, owner]", "      acknowledgers: [team:sre]"},
		{"on-call", "the second has emergencies", "      requesters: [roster:primary]\n      maxDuration: 30m", "      requesters: [roster:primary, roster:secondary]\n      maxDuration: 30m"},
		{"on-call", "an emergency after another", "      acknowledge: 8h\n", "      acknowledge: 8h\n      repeat: true\n"},
		{"on-call", "the schema is changed by asking", "    approve: deny\n    message: the schema is changed by the pipeline; write a migration", "    maxDuration: 1h\n    approve: auto"},
	} {
		t.Run(m.example+"/"+m.name, func(t *testing.T) {
			text := readExample(t, m.example, "policy.yaml")
			if n := strings.Count(text, m.old); n != 1 {
				t.Fatalf("the example holds %q %d times", m.old, n)
			}
			was, is := failing(t, m.example, text), failing(t, m.example, strings.Replace(text, m.old, m.new, 1))
			if !slices.ContainsFunc(is, func(name string) bool { return !slices.Contains(was, name) }) {
				t.Errorf("no case fails")
			}
		})
	}
}

// failing names the cases of an example that fail under a policy.
func failing(t *testing.T, example, text string) []string {
	p, err := compileText(text)
	if err != nil {
		t.Fatal(err)
	}
	results, err := table(t, example).RunAll(p)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range results {
		if !r.OK() {
			names = append(names, r.Name)
		}
	}
	return names
}
