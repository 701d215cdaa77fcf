package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// maxListed is the most items of a list that are shown at once: a longer one runs
// off the screen, and takes too long to be read aloud.
const maxListed = 20

// maxSettled is how many requests are looked through for one to pick where those
// that are over come into question: old ones are named by their ids.
const maxSettled = 500

// item is one line of a list to pick from: its name, and what it is.
type item struct{ name, about string }

func (i item) line() string {
	if i.about == "" {
		return clean(i.name)
	}
	return clean(i.name + ": " + lineOf(i.about))
}

// Pick shows a numbered list and gives the index of what was picked: by its
// number, or by a part of its name, or else of what it is, which narrows the list.
// flag names what would have answered, for the error where there is no terminal.
func (a *App) Pick(question, flag string, items []item) (int, error) {
	if !a.IO.CanAsk() {
		return 0, noTerminal(flag, question)
	}
	shown := make([]int, len(items))
	for i := range items {
		shown[i] = i
	}
	a.showItems(items, shown)
	for tries := 0; tries < maxTries; {
		numbered := min(len(shown), maxListed)
		line, err := a.Ask(fmt.Sprintf("%s [%s, or a part of the name]", question, upTo(numbered, "-")), flag)
		if err != nil {
			return 0, err
		}
		// A name of digits means itself, and not the place where another stands.
		named := slices.ContainsFunc(items, func(it item) bool { return it.name == line })
		if n, ok := numberIn(line); ok && !named {
			if n >= 1 && n <= numbered {
				return shown[n-1], nil
			}
			a.Say("Please answer with a number: %s, or a part of the name.", upTo(numbered, " to "))
			tries++
			continue
		}
		switch found := narrowed(items, line); {
		case len(found) == 0:
			a.Say("Nothing here is called that. Please answer with a number: %s, or a part of the name.", upTo(numbered, " to "))
			tries++
		case len(found) == 1:
			a.Say("That is %s", items[found[0]].line())
			return found[0], nil
		default:
			if slices.Equal(found, shown) {
				tries++ // it leads nowhere
			}
			shown = found
			a.showItems(items, shown)
		}
	}
	return 0, usageErr("add: "+flag, "nothing was chosen")
}

func upTo(n int, between string) string {
	if n == 1 {
		return "1"
	}
	return fmt.Sprintf("1%s%d", between, n)
}

// numberIn reads an answer that can only mean a number of the list; an id of
// digits alone is longer.
func numberIn(line string) (int, bool) {
	if !isDigits(line) || len(line) >= minID {
		return 0, false
	}
	n := 0
	for _, c := range line {
		n = n*10 + int(c-'0')
	}
	return n, true
}

// narrowed gives the items whose name is, or holds, what was typed; where there
// are none, those of which it says something. A blank answer finds nothing.
func narrowed(items []item, typed string) []int {
	typed = strings.ToLower(typed)
	if typed == "" {
		return nil
	}
	var within, about []int
	for i, it := range items {
		name := strings.ToLower(it.name)
		switch {
		case name == typed:
			return []int{i}
		case strings.Contains(name, typed):
			within = append(within, i)
		case strings.Contains(strings.ToLower(it.about), typed):
			about = append(about, i)
		}
	}
	if len(within) > 0 {
		return within
	}
	return about
}

func (a *App) showItems(items []item, shown []int) {
	for n, i := range shown[:min(len(shown), maxListed)] {
		a.Say("  %d  %s", n+1, items[i].line())
	}
	if more := len(shown) - maxListed; more > 0 {
		a.Say("  and %d more: type a part of a name to see fewer", more)
	}
}

// lineFor is a request in a list to pick from.
func lineFor(e ledger.Entry) item {
	r := e.Request.Record
	return item{r.ID.Short(), fmt.Sprintf("%s, %s for %s, %s: %s", r.By, grantsText(r.Grants), r.Duration, e.State, lineOf(r.Reason))}
}

// pickRequest lets a person pick one of entries for what they are about to do, in
// a word: "deny".
func (a *App) pickRequest(entries []ledger.Entry, do string) (record.ID, error) {
	if len(entries) == 0 {
		return "", nothingTo(do)
	}
	var items []item
	for _, e := range entries {
		items = append(items, lineFor(e))
	}
	i, err := a.Pick("Which one to "+do+"?", "ID", items)
	if err != nil {
		return "", err
	}
	return entries[i].Request.Record.ID, nil
}

// nothingTo says that there is nothing to pick.
func nothingTo(do string) error {
	return failure(exitUsage, "nothing-to-pick", "name it by its id; see: jit list", "there is nothing that you could %s now", do)
}

// applicable gives the requests for which v finds something left to do: among
// those that it names, else those in one of its states, else all that are not
// settled, newest first.
func (d *desk) applicable(v verb) ([]ledger.Entry, error) {
	l, now := d.rep.Ledger(), d.app.Now()
	f := ledger.Filter{States: v.states, Open: len(v.states) == 0}
	if slices.ContainsFunc(v.states, approve.State.Settled) {
		f.Limit = maxSettled
	}
	var all []ledger.Entry
	var err error
	if v.among != nil {
		all, err = v.among(l, now)
	} else {
		all, err = l.Requests(f, now)
	}
	if err != nil {
		return nil, err
	}
	var apply []ledger.Entry
	for _, e := range all {
		already, err := v.judge(d, e)
		var refusal *policy.Refusal
		switch {
		case errors.As(err, &refusal):
		case err != nil:
			return nil, err
		case already == "":
			apply = append(apply, e)
		}
	}
	return apply, nil
}

// pickDecision lets a person pick what waits for their approval.
func (d *desk) pickDecision() (string, error) {
	waiting, err := d.app.inbox(d.rep, d.me)
	if err != nil {
		return "", err
	}
	waiting = slices.DeleteFunc(waiting, func(w inboxItem) bool {
		return w.Kind != string(record.KindRequest) && w.Kind != string(record.KindPolicy)
	})
	if len(waiting) == 0 {
		return "", nothingTo("approve")
	}
	var items []item
	for _, w := range waiting {
		about := w.By + ", a policy version"
		if w.Kind == string(record.KindRequest) {
			about = fmt.Sprintf("%s, %s for %s: %s", w.By, grantsText(w.Grants), text(w.DurationText), lineOf(text(w.Reason)))
		}
		items = append(items, item{w.ShortID, about})
	}
	i, err := d.app.Pick("Which one to approve?", "ID", items)
	if err != nil {
		return "", err
	}
	return waiting[i].ID, nil
}
