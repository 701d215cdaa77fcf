package policy

import (
	"maps"
	"slices"
	"strings"
)

// minKeyText is the fewest characters of a public key's text.
const minKeyText = 40

// shared looks for people whom a target cannot tell apart: the end of one's access
// leaves what the other's gave, and whoever had both can go on.
func (l *linter) shared() {
	drivers := map[string]bool{}
	for _, r := range l.body.Resources {
		drivers[r.Driver] = true
	}
	for _, driver := range slices.Sorted(maps.Keys(drivers)) {
		by := map[string][]string{} // people in order, by a line of their accounts
		for _, name := range l.dir.names {
			for _, line := range accountLines(accountOn(l.body, name, driver)) {
				by[line] = append(by[line], name)
			}
		}
		said := map[string]bool{}
		for _, line := range slices.Sorted(maps.Keys(by)) {
			who := by[line]
			key := strings.Join(who, " ")
			if len(who) < 2 || said[key] {
				continue
			}
			said[key] = true
			// It stands where the last of them was given an account: the others' may be a name.
			at := who[len(who)-1]
			for _, name := range who {
				if l.body.People[name].Accounts[driver] != "" {
					at = name
				}
			}
			l.add(SeverityWarning, ProblemSharedAccount, "people."+at+".accounts."+driver, "give each an account of their own",
				"on targets of %s, %s have one account: when the access of one ends, it stays open while another's does not", driver, someOf(who, "other"))
		}
	}
}

func accountOn(b *Body, name, driver string) string {
	if account, ok := b.People[name].Accounts[driver]; ok {
		return account
	}
	return name
}

// accountLines gives the lines of an account, each once and without what a target does
// not tell apart: the comment of a public key.
func accountLines(account string) []string {
	var lines []string
	for line := range strings.Lines(account) {
		words := strings.Fields(line)
		if len(words) > 2 && len(words[1]) >= minKeyText {
			words = words[:2]
		}
		if text := strings.Join(words, " "); text != "" {
			lines = append(lines, text)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
