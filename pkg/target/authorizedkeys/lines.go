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
func with(lines []string, id string, mine []string) []string {
	return append(slices.Clone(mine), without(lines, id)...)
}

func without(lines []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return idOf(l) == id })
}

// of gives the lines that carry id.
func of(lines []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return idOf(l) != id })
}
