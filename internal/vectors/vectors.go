// Package vectors makes OpenPGP keys, certificates and signatures that are good or
// wrong in one way each, by its own writing of packets: what it makes is judged by
// pkg/record, which reads by another library, and by gpg. From a seed it always makes
// the same bytes; testdata/vectors holds those that other programs can be tried on.
//
// It is used by tests and by its own generator alone, and imports nothing of this
// module: what is tried must not help to make what it is tried on.
package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:generate go run ./generate ../../testdata/vectors

// Times of the vectors: when the keys were made, when the records were signed, and
// when gpg is asked.
var (
	keyTime  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	signTime = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	askTime  = signTime.Add(5 * time.Minute)
)

func seconds(t time.Time) uint32 { return uint32(t.Unix()) }

const year = 365 * 24 * 3600

// Vector is one record, its signature and the certificate by which it is judged, with
// what must come out.
type Vector struct {
	Name string `json:"name"`
	// Record, Signature and Certificate are files beside the manifest.
	Record      string `json:"record"`
	Signature   string `json:"signature"`
	Certificate string `json:"certificate"`
	// Time is when gpg is asked. jit's verdict does not depend on it.
	Time string `json:"time"`
	// Expect is "ok", or the reason code for which jit refuses.
	Expect string `json:"expect"`
	// GPG is what gpg says, see the folder's README.md.
	GPG string `json:"gpg"`
	// Why says what the vector shows.
	Why string `json:"why"`
}

// Manifest is the list of all vectors.
type Manifest struct {
	Format  int      `json:"format"`
	GPG     string   `json:"gpg"`
	Vectors []Vector `json:"vectors"`
}

// maker gathers vectors and their files; what has the same bytes is one file.
type maker struct {
	files  map[string][]byte
	byText map[string]string
	list   []Vector
}

// file keeps data and gives its path: the first name under which these bytes came.
func (m *maker) file(folder, name, ending string, data []byte) string {
	id := folder + string(data)
	if path, ok := m.byText[id]; ok {
		return path
	}
	path := folder + "/" + name + ending
	if _, taken := m.files[path]; taken {
		panic("vectors: two files are called " + path)
	}
	m.files[path], m.byText[id] = data, path
	return path
}

// add makes a vector.
func (m *maker) add(name, expect, gpg, why string, record, signature, certificate []byte) {
	m.list = append(m.list, Vector{
		Name: name, Record: m.file("records", name, ".yaml", record), Signature: m.file("signatures", name, ".asc", signature),
		Certificate: m.file("certificates", name, ".asc", certificate), Time: askTime.Format(time.RFC3339), Expect: expect, GPG: gpg, Why: why,
	})
}

// Make gives all files of testdata/vectors but its README.md, by their paths there.
func Make() (map[string][]byte, error) {
	m := &maker{files: map[string][]byte{}, byText: map[string]string{}}
	m.algorithms()
	m.signatures()
	m.armours()
	m.certificates()
	m.states()
	m.records()
	slices.SortFunc(m.list, func(a, b Vector) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(m.list); i++ {
		if m.list[i].Name == m.list[i-1].Name {
			return nil, fmt.Errorf("two vectors are called %s", m.list[i].Name)
		}
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(Manifest{Format: 1, GPG: "2.2.40", Vectors: m.list}); err != nil {
		return nil, err
	}
	m.files["manifest.json"] = b.Bytes()
	return m.files, nil
}

// Head of the records that the vectors sign.
const (
	recordID = "01M86CH3M00C000003000000R0"
	store    = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	headText = "apiVersion: jit/v1\nkind: comment\nid: " + recordID + "\nstore: " + store +
		"\nhead: 0123456789abcdef0123456789abcdef01234567\ncreated: 2026-11-24T09:00:00Z\nby: alice\n"
	bodyText = "request: 01M86CH3M00C000003000000R1\nrequestDigest: " + store + "\ncomment: looks right to me\n"
)

// plainRecord is the record that most vectors sign.
func plainRecord() []byte { return []byte(headText + bodyText) }

// signature gives the armoured signature of the usual form by k, which change may
// alter.
func signature(k *key, data []byte, change ...func(*shape)) []byte {
	return armour(blockSignature, packet(tagSignature, signatureBody(k, data, change...)))
}

func signatureBody(k *key, data []byte, change ...func(*shape)) []byte {
	s := k.usual(sigBinary, seconds(signTime))
	for _, f := range change {
		f(&s)
	}
	switch s.kind {
	case sigText: // RFC 9580, section 5.2.1.2
		lines := strings.ReplaceAll(string(data), "\r\n", "\n")
		data = []byte(strings.ReplaceAll(lines, "\n", "\r\n"))
	case sigStandalone:
		data = nil
	}
	return k.sign(s, data)
}

// person is a certificate of the usual form.
func person(k *key) *cert { return newCert(k).user("Alice <alice@example.org>", flagCertify|flagSign) }
