package policy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// weekDays are the names of the days, in the order of the week.
var weekDays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// span is some hours of a day, in minutes of the clock from the day's beginning.
// One whose end is beyond the day's goes on into the next.
type span struct {
	begin, end int
}

// Calendar compiles s. The error is a [Refusal] that names every problem.
func (s Schedule) Calendar() (*Calendar, error) {
	var problems []string
	c := s.compile(func(path, hint, format string, args ...any) {
		p := Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}
		problems = append(problems, p.String())
	})
	if len(problems) > 0 {
		return nil, &Refusal{Code: BadPolicy, Message: "the schedule cannot be used: " + strings.Join(problems, "; ")}
	}
	return c, nil
}

// MaxSchedules is the most schedules of a policy: each is a week of minutes to fill.
// MaxFreezes is the most freezes of one: all are gone through for a message.
const (
	MaxSchedules = 1000
	MaxFreezes   = 1000
)

// schedules checks the schedules.
func (c *checker) schedules() {
	if n := len(c.body.Schedules); n > MaxSchedules {
		c.tooMany("schedules", fmt.Sprintf("at most %d; rules can share one", MaxSchedules), "there are %d schedules", n)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.body.Schedules)) {
		at := "schedules." + name
		c.calendars[name] = c.body.Schedules[name].compile(func(path, hint, format string, args ...any) {
			code := ProblemSchedule
			if path == "zone" {
				code = ProblemZone
			}
			c.add(code, at+"."+path, hint, format, args...)
		})
	}
}

// addProblem takes a problem; its path is within the schedule.
type addProblem func(path, hint, format string, args ...any)

// compile gives the calendar, which is of use only where no problem is added.
func (s Schedule) compile(add addProblem) *Calendar {
	c := &Calendar{zone: compileZone(s.Zone, add)}
	c.days = compileDays(s.Days, add)
	c.spans, c.always = compileHours(s.Hours, c.days, add)
	if len(s.Freeze) > MaxFreezes {
		add("freeze", fmt.Sprintf("at most %d; take out those that are over", MaxFreezes), "the schedule has %d freezes", len(s.Freeze))
		return c
	}
	for i, f := range s.Freeze {
		if utf8.RuneCountInString(f.Reason) > MaxSaid {
			add(fmt.Sprintf("freeze[%d].reason", i), fmt.Sprintf("at most %d characters", MaxSaid), "the reason is too long")
		}
		if from, until, ok := f.compile(fmt.Sprintf("freeze[%d]", i), add); ok && c.zone != nil {
			c.freeze(f, from, until)
		}
	}
	c.mergeFrozen()
	return c
}

// zoneForm is AREA/PLACE. What is not of that form is no place: "Local" is
// another zone on every machine, EST and Etc/GMT+5 know no daylight saving, and
// "posix/" and "right/" are there on some machines only.
var zoneForm = regexp.MustCompile(`^[A-Z][A-Za-z]*(/[A-Z][A-Za-z_-]*)+$`)

// compileZone gives the zone with a name; nil where there is none.
func compileZone(name string, add addProblem) *time.Location {
	switch {
	case name == "":
		add("zone", "add zone: Europe/Berlin", "the schedule names no time zone")
		return nil
	case name == "UTC":
		return time.UTC
	case !zoneForm.MatchString(name) || strings.HasPrefix(name, "Etc/"):
		add("zone", "write AREA/PLACE, like Europe/Berlin, or UTC", "%+q is not the time zone of a place", name)
		return nil
	}
	zone, ok := loadZone(name)
	if !ok {
		add("zone", "write a name of the IANA time zone database, like Europe/Berlin, or UTC", "there is no time zone %+q", name)
		return nil
	}
	return zone
}

// compileDays gives which of the days of the week are named, from mon.
func compileDays(names []string, add addProblem) (days [7]bool) {
	if len(names) == 0 {
		return [7]bool{true, true, true, true, true, true, true}
	}
	for i, name := range names {
		at := fmt.Sprintf("days[%d]", i)
		switch d := slices.Index(weekDays, name); {
		case d < 0:
			add(at, "write mon, tue, wed, thu, fri, sat or sun", "%+q is not a day", name)
		case days[d]:
			add(at, "name each day once", "%+q is named twice", name)
		default:
			days[d] = true
		}
	}
	return days
}

// hoursForm is a span of hours: 08:00-18:00. Only an end can be 24:00.
var hoursForm = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)$`)

// parseHours gives the span that text means.
func parseHours(text string) (span, bool) {
	m := hoursForm.FindStringSubmatch(text)
	if m == nil {
		return span{}, false
	}
	s := span{minuteOf(m[1], m[2]), dayMinutes}
	if m[3] != "" {
		s.end = minuteOf(m[3], m[4])
	}
	if s.end <= s.begin {
		s.end += dayMinutes
	}
	return s, true
}

// minuteOf gives the minute of the day; hoursForm has seen that both are numbers.
func minuteOf(hour, minute string) int {
	h, _ := strconv.Atoi(hour)
	m, _ := strconv.Atoi(minute)
	return h*60 + m
}

// compileHours gives the spans in order, and whether they fill the whole week.
func compileHours(hours []string, days [7]bool, add addProblem) (spans []span, always bool) {
	if len(hours) == 0 {
		return []span{{0, dayMinutes}}, days == [7]bool{true, true, true, true, true, true, true}
	}
	var taken [weekMinutes]int // by which of the hours, counted from 1
	free := weekMinutes
	// take marks the minutes of a span on all days, up to the first that is
	// taken already: what comes after costs time and says nothing new.
	take := func(s span, by int) (other int) {
		for d, on := range days {
			for m := s.begin; on && m < s.end; m++ {
				at := &taken[(d*dayMinutes+m)%weekMinutes]
				if *at != 0 {
					return *at
				}
				*at = by
				free--
			}
		}
		return 0
	}
	for i, text := range hours {
		at := fmt.Sprintf("hours[%d]", i)
		s, ok := parseHours(text)
		if !ok {
			add(at, "write HH:MM-HH:MM, like 08:00-18:00; the end of the day is 24:00", "%+q is no span of hours", text)
			continue
		}
		if other := take(s, i+1); other != 0 {
			add(at, "write them as one span, or let the second begin where the first ends", "%s overlaps %s", text, hours[other-1])
			continue
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	return spans, free == 0
}

// compile gives the dates as days since 1970-01-01.
func (f Freeze) compile(at string, add addProblem) (from, until int64, ok bool) {
	ok = true
	day := func(key, text string) int64 {
		t, err := time.Parse(time.DateOnly, text)
		if err != nil {
			add(at+"."+key, "write YYYY-MM-DD, like 2026-12-24", "%+q is no date", text)
			ok = false
		}
		return floorDiv(t.Unix(), daySeconds)
	}
	from, until = day("from", f.From), day("until", f.Until)
	if ok && until < from {
		add(at+".until", "write the first date, then the last", "the freeze ends on %s, before it begins on %s", f.Until, f.From)
		ok = false
	}
	return from, until, ok
}

// Describe says when it is, in words, without the dates of a freeze: "mon to fri
// 08:00 to 18:00, Europe/Berlin".
func (c *Calendar) Describe() string {
	if c.always {
		return "at any time, " + c.zone.String()
	}
	var hours []string
	for _, s := range c.spans {
		hours = append(hours, s.String())
	}
	return describeDays(c.days) + " " + inWords(hours) + ", " + c.zone.String()
}

func (s span) String() string {
	at := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	switch {
	case s == span{0, dayMinutes}:
		return "all day"
	case s.end > dayMinutes:
		return at(s.begin) + " to " + at(s.end-dayMinutes) + " on the next day"
	default:
		return at(s.begin) + " to " + at(s.end)
	}
}

// describeDays names the days; three or more in a row by the first and the last.
func describeDays(days [7]bool) string {
	var parts []string
	for d := 0; d < len(days); d++ {
		end := d
		for end < len(days) && days[end] {
			end++
		}
		switch {
		case end-d == len(days):
			return "every day"
		case end-d >= 3:
			parts = append(parts, weekDays[d]+" to "+weekDays[end-1])
			d = end
		case end > d:
			parts = append(parts, weekDays[d])
		}
	}
	return inWords(parts)
}

// inWords joins words as a sentence does.
func inWords(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
