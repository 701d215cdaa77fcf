package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// FuzzSettings reads a person's configuration: what is taken is written and read again
// as the same.
func FuzzSettings(f *testing.F) {
	const id = "6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c"
	for _, s := range []string{
		"name: ann\nstore:\n  url: /srv/x\n  identity: " + id + "\n", "name: ann\nstore: {url: x, identity: " + id + "}\nsigning: {gpg: " + id[:40] + "}\n",
		"name: ann\nstore: {url: x, identity: 1}\n", "", "a: &b [*b]\n",
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readSettings(file)
		if err != nil {
			var told *exitError
			if !errors.As(err, &told) || told.Code == "" {
				t.Errorf("no code: %v", err)
			}
			return
		}
		out, err := record.Encode(s)
		if err != nil {
			return
		}
		var again Settings
		if err := record.DecodeStrict(out, &again); err != nil || again != s {
			t.Errorf("%+v came back as %+v: %v", s, again, err)
		}
	})
}

// FuzzTimes reads times and durations as people write them: an end lies after now,
// and is the same however the machine's zone is set.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"18:00", "2026-11-24 18:00", "2026-11-24T18:00:00Z", "2026-03-29 02:30", "24:00", "90m", "1w", "", " 18:00 ", "9999-12-31T23:59:59+14:00"} {
		f.Add(s, int64(1764000000))
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		if unix < 0 || unix > 1<<33 {
			return
		}
		now := time.Unix(unix, 0)
		for _, zone := range []*time.Location{time.UTC, berlin} {
			until, err := parseUntil(s, now, zone)
			if err != nil {
				continue
			}
			if until.Before(now) || until.Location() != time.UTC {
				t.Errorf("%q at %v is %v", s, now, until)
			}
			if back, err := parseUntil(until.Format(time.RFC3339), now, zone); until.Year() < 10000 && (err != nil || !back.Equal(until)) {
				t.Errorf("%v came back as %v: %v", until, back, err)
			}
		}
		if d, err := parseFor(s); err == nil && (d.Duration <= 0 || d.Duration > record.MaxDuration) {
			t.Errorf("%q is %v", s, d)
		}
	})
}

// FuzzInputFlags reads the values of --input.
func FuzzInputFlags(f *testing.F) {
	f.Add("rows=10", "env=prod")
	f.Add("a=b=c", "a=")
	f.Add("=x", "y\n= \u202e")
	f.Fuzz(func(t *testing.T, a, b string) {
		inputs, err := parseInputs([]string{a, b})
		if err != nil {
			return
		}
		if len(inputs) != 2 {
			t.Errorf("%q", inputs)
		}
		for name, value := range inputs {
			if name == "" || record.CheckText(value) != nil {
				t.Errorf("%q: %q", name, value)
			}
		}
	})
}
