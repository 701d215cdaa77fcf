package main

import (
	"testing"
	"time"
)

// TestClockHasBothReadings: within a run of a reconciler access ends by the wall clock or
// by the monotonic one (pkg/reconcile TestClockSetBackWithinARun), for which the program's
// clock must give a reading of each.
func TestClockHasBothReadings(t *testing.T) {
	if now := newApp().Now(); now.String() == now.Round(0).String() {
		t.Errorf("%s has no reading of the monotonic clock", now)
	}
}

func TestParseUntil(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 24, 17, 30, 0, 0, berlin)
	for text, want := range map[string]string{
		"18:00":                     "2026-11-24T17:00:00Z", // today, in the person's zone
		"17:30":                     "2026-11-25T16:30:00Z", // over already, so tomorrow
		"2026-11-25 09:00":          "2026-11-25T08:00:00Z",
		"2026-11-25T09:00:30":       "2026-11-25T08:00:30Z",
		"2026-11-25T09:00:00Z":      "2026-11-25T09:00:00Z",
		"2026-11-25T09:00:00-05:00": "2026-11-25T14:00:00Z",
		"2026-11-24 17:00":          "", // over
		"25:00":                     "",
		"tomorrow":                  "",
		"":                          "",
	} {
		got, err := parseUntil(text, now, berlin)
		if (err == nil) != (want != "") {
			t.Errorf("%q: error %v, want a time: %v", text, err, want != "")
		} else if err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s, want %s", text, got.Format(time.RFC3339), want)
		}
	}
}

func TestFormatTime(t *testing.T) {
	at := time.Date(2026, 11, 24, 23, 30, 0, 0, time.UTC)
	for zone, want := range map[*time.Location]string{
		time.UTC:                        "2026-11-24 23:30 UTC",
		time.FixedZone("CET", 3600):     "2026-11-25 00:30 CET (2026-11-24 23:30 UTC)",
		time.FixedZone("EST", -5*60*60): "2026-11-24 18:30 EST (23:30 UTC)",
	} {
		if got := formatTime(at, zone); got != want {
			t.Errorf("in %s: %q, want %q", zone, got, want)
		}
	}
}

func TestFormatLeft(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Second: "0s", 300 * time.Millisecond: "1s", 42 * time.Second: "42s", 9*time.Minute + 5*time.Second: "9m5s",
		65*time.Minute + 30*time.Second: "1h5m", 49*time.Hour + 59*time.Minute: "2d1h",
	} {
		if got := formatLeft(now.Add(left), now); got != want {
			t.Errorf("%s: %q, want %q", left, got, want)
		}
	}
}
