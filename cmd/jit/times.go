package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// parseFor reads a duration as a person writes it: 90m, 1h30m, 2d.
func parseFor(s string) (record.Duration, error) {
	d, err := record.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		hint := "write it with units, like 30m, 2h, 1h30m or 2d"
		if isDigits(s) {
			hint = fmt.Sprintf("add a unit: %sm for minutes, %sh for hours", s, s)
		}
		return record.Duration{}, &exitError{Exit: exitUsage, Code: "bad-duration", Message: fmt.Sprintf("%q is not a duration", s), Hint: hint, Err: err}
	}
	return d, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// localForms are the ways to write a time without its zone, which is then the
// person's own.
var localForms = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"}

// parseUntil reads a time as a person writes it: 18:00 is the next time that
// their clock shows it, 2026-11-24 18:00 is in their zone, and RFC 3339 says the
// zone itself. The time must lie after now.
func parseUntil(s string, now time.Time, local *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	t, err := readTime(s, now.In(local))
	if err != nil {
		return time.Time{}, &exitError{Exit: exitUsage, Code: "bad-time", Message: fmt.Sprintf("%q is not a time", s),
			Hint: `write 18:00, "2026-11-24 18:00" or 2026-11-24T18:00:00Z`, Err: err}
	}
	if !t.After(now) {
		return time.Time{}, failure(exitUsage, "bad-time", "give a later time", "%s is over already", formatTime(t, local))
	}
	return t.UTC().Truncate(time.Second), nil
}

func readTime(s string, now time.Time) (time.Time, error) {
	if clock, err := time.Parse("15:04", s); err == nil {
		t := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location())
		if !t.After(now) {
			t = time.Date(now.Year(), now.Month(), now.Day()+1, clock.Hour(), clock.Minute(), 0, 0, now.Location())
		}
		return t, nil
	}
	for _, form := range localForms {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Parse(time.RFC3339, s)
}

// formatTime writes a time in the person's zone and in UTC:
// 2026-11-24 18:00 CET (17:00 UTC). The day in UTC is named where it differs.
func formatTime(t time.Time, local *time.Location) string {
	clock := "15:04"
	if t.Second() != 0 {
		clock = "15:04:05"
	}
	here, utc := t.In(local), t.UTC()
	if _, offset := here.Zone(); offset == 0 {
		return utc.Format("2006-01-02 " + clock + " UTC")
	}
	utcForm := clock + " UTC"
	if here.Format(time.DateOnly) != utc.Format(time.DateOnly) {
		utcForm = "2006-01-02 " + utcForm
	}
	return here.Format("2006-01-02 "+clock+" MST") + " (" + utc.Format(utcForm) + ")"
}

// formatLeft writes how long it is until a time, in the two largest units:
// "1h5m", "42s"; "0s" when it is over.
func formatLeft(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d <= 0:
		return "0s"
	case d >= 24*time.Hour:
		d = d.Truncate(time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	case d >= 10*time.Minute:
		d = d.Truncate(time.Minute)
	default:
		d = max(d.Truncate(time.Second), time.Second)
	}
	return record.Duration{Duration: d}.String()
}

// FormatTime is formatTime in this person's zone.
func (a *App) FormatTime(t time.Time) string { return formatTime(t, a.Local) }

// timeOrNull gives a time for JSON: RFC 3339 in UTC, or null for the zero time.
func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339)
	return &s
}
