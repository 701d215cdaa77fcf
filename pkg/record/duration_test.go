package record

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in, out string
		want    time.Duration
	}{
		{"90m", "1h30m", 90 * time.Minute},
		{"1h30m", "1h30m", 90 * time.Minute},
		{"2d", "2d", 48 * time.Hour},
		{"1w", "7d", 7 * 24 * time.Hour},
		{"36h", "1d12h", 36 * time.Hour},
		{"5s", "5s", 5 * time.Second},
	} {
		got, err := ParseDuration(c.in)
		if err != nil || got.Duration != c.want || got.String() != c.out {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", c.in, got, err, c.want)
		}
		again, err := ParseDuration(got.String())
		if err != nil || again != got {
			t.Errorf("%q does not read back: %v, %v", got, again, err)
		}
	}
}

func TestParseDurationRefuses(t *testing.T) {
	for _, in := range []string{"", "2", "h", "-1h", "+1h", "1.5h", "1h1h", "1m1h", "0s", "0h0m", "1 h", "1H", "9999999999w", "600w", "9999999h", "5124096h", "١h", "1e3s", "0x1h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v; want a refusal", in, got)
		}
	}
}
