package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progress{w: &out, width: 80, now: func() time.Time { return now }}
	p.report("commits", 1, 100)
	if out.Len() > 0 {
		t.Errorf("what is quick is shown: %q", out.String())
	}
	now = now.Add(10 * time.Second)
	p.report("commits", 25, 100)
	if got := out.String(); !strings.Contains(got, "Verifying commits  [######                  ]  25%  25/100  30s left") {
		t.Errorf("%q", got)
	}
	out.Reset()
	p.report("commits", 26, 100)
	if out.Len() > 0 {
		t.Errorf("the line changes too often: %q", out.String())
	}
	p.done()
	if out.String() != "\r\x1b[K" {
		t.Errorf("the line stays: %q", out.String())
	}
	var none *progress
	none.report("commits", 1, 1)
	none.done()
	for _, width := range []int{0, 1, 20} {
		if line := progressLine("Receiving objects", 5, 0, time.Second, width); len(line) > max(0, width-1) {
			t.Errorf("%d columns: %q", width, line)
		}
	}
}
