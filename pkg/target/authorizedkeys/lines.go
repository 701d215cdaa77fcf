package authorizedkeys

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

// A line of jit's is
//
//	OPTIONS,expiry-time="20261124100000Z" TYPE BASE64 jit:GRANT-ID:PERSON
//
// and is told from others by its last word. The Z, for UTC, is understood by
// sshd since 9.1; an older one refuses the whole line.
const (
	markPrefix = "jit:"
	expiryForm = "20060102150405Z"
)

// wanted are the lines of a grant, each with its line end.
func wanted(g target.Grant, p params, keys []string) []string {
	options := p.options
	if options != "" {
		options += ","
	}
	lines := make([]string, len(keys))
	for i, key := range keys {
		lines[i] = fmt.Sprintf("%sexpiry-time=%q %s %s%s:%s\n", options, g.Ends.UTC().Format(expiryForm), key, markPrefix, g.ID, plain(g.Person))
	}
	return lines
}

// plain keeps of a name what can stand in a comment and mean nothing else.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@+-", r)) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), 64)]
}

// idOf is the grant id that a line carries; "" when it is not jit's.
func idOf(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
		return ""
	}
	mark, ok := strings.CutPrefix(fields[len(fields)-1], markPrefix)
	if !ok {
		return ""
	}
	id, _, ok := strings.Cut(mark, ":")
	if !ok || target.CheckID(id) != nil {
		return ""
	}
	return id
}

// struckMark stands at the beginning of a line of jit's that was made a comment, for want
// of room to take it out. The bytes under it are lost; those after it are as they were.
const struckMark = "#jit:ended "

// unstruck leaves out the lines that jit has made comments.
func unstruck(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, struckMark) })
}

// takenOut gives the lines of old that are not among lines, where nothing else has changed.
func takenOut(old, lines []string) (gone []string, only bool) {
	for _, l := range old {
		if len(lines) > 0 && lines[0] == l {
			lines = lines[1:]
			continue
		}
		gone = append(gone, l)
	}
	return gone, len(lines) == 0
}

// unmarked reports whether a line is the grant's own though its mark is gone: it lets one
// of the grant's keys in, until exactly the grant's end. Nobody loses by it what lasts
// longer.
func unmarked(line string, g target.Grant, keys []string) bool {
	return idOf(line) == "" && expiryOf(line).Equal(g.Ends.Truncate(time.Second)) &&
		slices.ContainsFunc(keys, func(key string) bool { return holds(line, key) })
}

// expiryOf is when a line of jit's ends; zero when it does not say.
func expiryOf(line string) time.Time {
	_, after, _ := strings.Cut(line, `expiry-time="`)
	text, _, _ := strings.Cut(after, `"`)
	at, err := time.Parse(expiryForm, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// holds says whether a line lets key ("type base64") in.
func holds(line, key string) bool {
	fields := strings.Fields(line)
	if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
		return false
	}
	_, base64, _ := strings.Cut(key, " ")
	return slices.Contains(fields, base64)
}

// split keeps the line ends, so that joined lines are the same bytes.
func split(data []byte) []string { return slices.Collect(strings.Lines(string(data))) }

// with puts a grant's lines before all others: so no byte of the others has to
// change, not even where the last one has no line end.
func with(lines []string, g target.Grant, keys, mine []string) []string {
	return append(slices.Clone(mine), without(lines, g, keys)...)
}

// without leaves out a grant's lines, those that have lost their mark too.
func without(lines []string, g target.Grant, keys []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return idOf(l) == g.ID || unmarked(l, g, keys) })
}

// of gives the lines that carry id.
func of(lines []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return idOf(l) != id })
}
