package approve

// broughtBack gives the withdrawals that merges brought beside the place of a sight and
// that take back what counts there, of each approval the first. Of one that has been taken
// back all others take nothing more, and people who push may bring as many as they like:
// each that is looked at costs another count of all.
func (v *verdict) broughtBack(seen sight) (all []taking) {
	first := make([]taking, len(v.c.Approvals))
	for _, w := range v.c.Withdrawals {
		x := takingBy(w)
		if !x.besides(seen.place) || !v.happened(x.at, x.place) {
			continue
		}
		for i, a := range v.c.Approvals {
			if !seen.place.before(a.place()) && (first[i].beside == 0 || x.place.before(first[i].place)) && takesBack(w, a) {
				first[i] = x
			}
		}
	}
	for _, x := range first {
		if x.beside > 0 && !v.opened(seen.place, x.place, seen.at) {
			all = append(all, x)
		}
	}
	return all
}
