package main

import (
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Style is how text looks on one stream. Without colour every method gives its
// text unchanged. Only the sixteen ANSI colours are used, which the person's
// own terminal theme decides about, and the terminal is never asked anything.
type Style struct {
	colour                              bool
	bold, faint, good, warn, bad, title lipgloss.Style
}

func newStyle(w io.Writer, colour bool) *Style {
	profile := termenv.Ascii
	if colour {
		profile = termenv.ANSI
	}
	r := lipgloss.NewRenderer(w, termenv.WithProfile(profile), termenv.WithTTY(colour))
	r.SetColorProfile(profile)
	r.SetHasDarkBackground(true) // said, so that lipgloss does not ask
	ansi := func(n string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(n)) }
	return &Style{
		colour: colour,
		bold:   r.NewStyle().Bold(true), faint: r.NewStyle().Faint(true), title: r.NewStyle().Bold(true),
		good: ansi("2"), warn: ansi("3"), bad: ansi("1"),
	}
}

func (s *Style) render(st lipgloss.Style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	// lipgloss pads the lines of a block to one width; what is shown here must
	// stay as it is.
	return st.Inline(true).Render(text)
}

// Bold is for what matters most on a line.
func (s *Style) Bold(text string) string { return s.render(s.bold, text) }

// Faint is for what may be skipped.
func (s *Style) Faint(text string) string { return s.render(s.faint, text) }

// Title is for headings.
func (s *Style) Title(text string) string { return s.render(s.title, text) }

// Good colours a word that says the same without colour; so do Warn and Bad.
func (s *Style) Good(text string) string { return s.render(s.good, text) }

// Warn is for what a person should look at.
func (s *Style) Warn(text string) string { return s.render(s.warn, text) }

// Bad is for what went wrong.
func (s *Style) Bad(text string) string { return s.render(s.bad, text) }
