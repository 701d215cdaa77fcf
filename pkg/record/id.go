package record

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// ID is a ULID in its canonical form: 26 characters of Crockford's base 32 in
// upper case, the first from 0 to 7. The first ten are milliseconds since
// 1970, the rest is random. See https://github.com/ulid/spec.
type ID string

const (
	idLength   = 26
	idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// lastIDTime is the end of the year 9999, in milliseconds: a later time would
// not fit the folders of a store, which have four digits for a year.
var lastIDTime = uint64(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1)

// NewID makes an ID of the time now with eighty bits read from rnd.
func NewID(now time.Time, rnd io.Reader) (ID, error) {
	if ms := now.UnixMilli(); ms < 0 || uint64(ms) > lastIDTime {
		return "", refuse(ReasonBadID, "an id cannot have the time %s", now.UTC().Format(time.RFC3339))
	}
	u, err := ulid.New(ulid.Timestamp(now), rnd)
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return ID(u.String()), nil
}

// ParseID reads the canonical form and nothing else: no lower case, no letters
// that stand for digits. The reason of a refusal is [ReasonBadID].
func ParseID(s string) (ID, error) {
	if len(s) != idLength {
		return "", refuse(ReasonBadID, "an id has %d characters, %q has %d", idLength, clip(s), len(s))
	}
	for i := range len(s) {
		if strings.IndexByte(idAlphabet, s[i]) < 0 {
			return "", refuse(ReasonBadID, "%q is no id: character %d", clip(s), i+1)
		}
	}
	if s[0] > '7' {
		return "", refuse(ReasonBadID, "%q is no id: too large", s)
	}
	if u, err := ulid.ParseStrict(s); err != nil || u.Time() > lastIDTime {
		return "", refuse(ReasonBadID, "%q is no id: its time is out of range", s).because(err)
	}
	return ID(s), nil
}

// Time gives the id's time in UTC with the precision of a millisecond; the
// zero time when id is not canonical.
func (id ID) Time() time.Time {
	u, err := ulid.ParseStrict(string(id))
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(u.Time()).UTC()
}

// Short gives what people are shown and may type: the last six characters in
// lower case.
func (id ID) Short() string {
	if len(id) < 6 {
		return strings.ToLower(string(id))
	}
	return strings.ToLower(string(id[len(id)-6:]))
}

// Day gives the folder of the id's day in UTC, as "2026/11/23".
func (id ID) Day() string { return id.Time().Format("2006/01/02") }

// clip shortens text of unknown length for a message.
func clip(s string) string {
	const most = 40
	if r := []rune(s[:min(len(s), 4*most)]); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
