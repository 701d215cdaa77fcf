package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows on a terminal how far a long fetch or verification is: what is
// done, how much of it, and how long it still takes. Elsewhere it shows nothing.
// Its methods take nil, and may be called by several goroutines.
type progress struct {
	w     io.Writer
	width int
	now   func() time.Time

	mu      sync.Mutex
	what    string
	began   time.Time
	shown   time.Time
	visible bool
}

const (
	// progressAfter is how long a thing may take without a word, progressEvery
	// how often the line changes: what the eye can follow.
	progressAfter = time.Second / 2
	progressEvery = time.Second / 10
	barWidth      = 24
)

// newProgress gives a progress on the error stream, or nil where that is no
// terminal.
func (a *App) newProgress() *progress {
	if !a.IO.ErrTTY {
		return nil
	}
	return &progress{w: a.IO.Err, width: a.IO.Width, now: a.Now}
}

// stages are the words for what is counted; others are shown as they are.
var stages = map[string]string{"commits": "Verifying commits"}

// report is told how far a stage is.
func (p *progress) report(what string, done, total int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if what != p.what {
		p.what, p.began = what, now
	}
	if now.Sub(p.began) < progressAfter || now.Sub(p.shown) < progressEvery && done < total {
		return
	}
	p.shown, p.visible = now, true
	word := what
	if w, ok := stages[what]; ok {
		word = w
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", progressLine(clean(word), done, total, now.Sub(p.began), p.width))
	if done >= total {
		p.erase()
	}
}

// progressLine is one line: "Verifying commits  [####    ]  45%  108000/240007  12s left".
func progressLine(what string, done, total int, took time.Duration, width int) string {
	share := 0.0
	if total > 0 {
		share = min(1, float64(done)/float64(total))
	}
	full := int(share * barWidth)
	line := fmt.Sprintf("%s  [%s%s] %3d%%  %d/%d", what, strings.Repeat("#", full), strings.Repeat(" ", barWidth-full), int(share*100), done, total)
	if share > 0 && share < 1 {
		left := time.Duration(float64(took) * (1 - share) / share)
		line += "  " + max(left.Round(time.Second), time.Second).String() + " left"
	}
	return line[:min(len(line), max(width-1, 0))]
}

// done takes the line away that a stage left behind which did not come to its
// end.
func (p *progress) done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.visible {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.visible = false
	}
}
