package policy

import (
	"archive/zip"
	_ "embed" // the zones
	"io"
	"strings"
	"sync"
	"time"
)

// zoneArchive is the IANA time zone database, release 2025c, in the public
// domain, as Go 1.26 brings it in lib/time. A newer one is copied from a newer Go.
//
// The time package would take the zones from the machine first, even where the
// program has its own (time/tzdata). Machines differ in which zones they know and
// in what they know of them, and the same records must give the same answer on
// all of them.
//
//go:embed zoneinfo.zip
var zoneArchive string

// zoneFiles is the archive, by name of the zone.
var zoneFiles = sync.OnceValue(func() map[string]*zip.File {
	files := map[string]*zip.File{}
	archive, err := zip.NewReader(strings.NewReader(zoneArchive), int64(len(zoneArchive)))
	if err != nil {
		panic("policy: the time zones in this program are damaged: " + err.Error())
	}
	for _, f := range archive.File {
		files[f.Name] = f
	}
	return files
})

// zones keeps what is loaded, by name: policies are compiled often, and name few.
var zones sync.Map

// loadZone gives a zone by its name; ok is false where there is none.
func loadZone(name string) (zone *time.Location, ok bool) {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), true
	}
	f, ok := zoneFiles()[name]
	if !ok || strings.HasSuffix(name, "/") {
		return nil, false
	}
	r, err := f.Open()
	if err != nil {
		return nil, false
	}
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, false
	}
	zone, err = time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, false
	}
	zones.Store(name, zone)
	return zone, true
}
