package policy

import "testing"

// TestZones loads every zone in the archive, and finds the places in it.
func TestZones(t *testing.T) {
	places := 0
	for name, f := range zoneFiles() {
		if f.FileInfo().IsDir() {
			continue
		}
		zone, ok := loadZone(name)
		if !ok || zone.String() != name {
			t.Errorf("%q cannot be loaded: %v", name, zone)
		}
		problem := ""
		compileZone(name, func(_, _, format string, _ ...any) { problem = format })
		if problem == "" {
			places++
		}
	}
	if places < 400 {
		t.Errorf("only %d places: the archive is not whole, or zoneForm refuses too much", places)
	}
}

// TestZonesAreNotTheMachines has no way to a zone that the machine alone knows.
func TestZonesAreNotTheMachines(t *testing.T) {
	for _, name := range []string{"Local", "", "localtime", "posix/Europe/Berlin", "right/Europe/Berlin", "Europe/", "Europe", "../Europe/Berlin", "/etc/localtime"} {
		if zone, ok := loadZone(name); ok {
			t.Errorf("%q is %v", name, zone)
		}
	}
}
