package record

import (
	"strings"
	"testing"
	"time"
)

// TestIsFolder: each folder above a place is one, and nothing that is like it.
func TestIsFolder(t *testing.T) {
	id, err := NewID(time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), strings.NewReader(strings.Repeat("x", 16)))
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{
		Place{Kind: KindRequest, ID: id}.Path(), Place{Kind: KindApproval, ID: id, Request: id}.Path(),
		Place{Kind: KindPolicy, ID: id}.Path(), Place{Kind: KindApproval, ID: id, Request: id, Policy: true}.Path(),
		Place{Kind: KindLock, ID: id}.Path(), CertificatePath(Fingerprint(strings.Repeat("AB", 20)), []byte("x")),
	}
	for _, path := range paths {
		if IsFolder(path) || IsFolder(SignaturePath(path)) {
			t.Errorf("the file %q is called a folder", path)
		}
		for at := strings.LastIndexByte(path, '/'); at > 0; at = strings.LastIndexByte(path[:at], '/') {
			if !IsFolder(path[:at]) {
				t.Errorf("%q is no folder", path[:at])
			}
			for _, like := range []string{strings.ToUpper(path[:at]), strings.ToLower(path[:at]), path[:at] + "/x", path[:at] + "/", path[:at-1]} {
				if like != path[:at] && IsFolder(like) {
					t.Errorf("%q is called a folder", like)
				}
			}
		}
	}
	for _, path := range []string{"", "/", "docs", "requests/2026/13", "records/2026/11/27/" + string(id), "requests/2026/11/27" + string(id)} {
		if IsFolder(path) {
			t.Errorf("%q is called a folder", path)
		}
	}
}
