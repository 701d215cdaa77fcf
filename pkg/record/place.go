package record

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// Place is where a record lives in a store.
type Place struct {
	Kind Kind
	ID   ID
	// Request is the request, or the policy version where Policy is set, in
	// whose folder the record stands: its own id for a request and a policy
	// version. It is empty for a record that belongs to neither.
	Request ID
	// Policy says that the folder is a policy version's.
	Policy bool
	// Signature says that the path is the detached signature's, not the
	// record's.
	Signature bool
}

// PathOf gives the path of the record with head h. A request and a policy
// version have folders of their own; any other record stands in the folder of
// the request beside, or of the policy version beside when besidePolicy is
// set, or under records/ when beside is empty.
func PathOf(h Head, beside ID, besidePolicy bool) string {
	return Place{Kind: h.Kind, ID: h.ID, Request: beside, Policy: besidePolicy}.Path()
}

// SignaturePath gives the path of the detached signature of the record at
// path.
func SignaturePath(path string) string { return path + ".asc" }

// Path gives the path of p: what [ParsePath] reads.
func (p Place) Path() string {
	var s string
	switch {
	case p.Kind == KindRequest:
		s = "requests/" + p.ID.Day() + "/" + string(p.ID) + "/request.yaml"
	case p.Kind == KindPolicy:
		s = "policy/" + string(p.ID) + "/policy.yaml"
	case p.Request == "":
		s = "records/" + p.ID.Day() + "/" + p.file()
	case p.Policy:
		s = "policy/" + string(p.Request) + "/" + p.file()
	default:
		s = "requests/" + p.Request.Day() + "/" + string(p.Request) + "/" + p.file()
	}
	if p.Signature {
		s = SignaturePath(s)
	}
	return s
}

// IsFolder reports whether records or certificates may stand below a folder: below no
// other one does anything count.
func IsFolder(path string) bool {
	top, below, inside := strings.Cut(path, "/")
	switch top {
	case "policy":
		return !inside || isID(below)
	case "keys":
		_, err := ParseFingerprint(below)
		return !inside || err == nil
	case "requests", "records":
		if !inside {
			return true
		}
	default:
		return false
	}
	// YYYY/MM/DD, of requests with an id after it.
	const day = "2006/01/02"
	if _, err := time.Parse(day[:min(len(day), len(below))], below[:min(len(day), len(below))]); err != nil {
		return false
	}
	switch len(below) {
	case 4, 7, 10:
		return true
	}
	return top == "requests" && len(below) > 11 && below[10] == '/' && isID(below[11:])
}

func isID(text string) bool {
	_, err := ParseID(text)
	return err == nil
}

func (p Place) file() string { return string(p.ID) + "." + string(p.Kind) + ".yaml" }

// ParsePath reads the path of a record or of a record's signature. It takes
// nothing but what [Place.Path] gives: the day must be the id's own, and the
// kind one that jit knows. The reason of a refusal is [ReasonBadPath].
func ParsePath(path string) (Place, error) {
	const longest = 128 // the longest true path has under 100 bytes
	if len(path) > longest {
		return Place{}, refuse(ReasonBadPath, "path %q is too long", clip(path))
	}
	p, ok := parsePath(path)
	if !ok || p.Path() != path {
		return Place{}, refuse(ReasonBadPath, "%q is not the path of a record", path)
	}
	return p, nil
}

func parsePath(path string) (p Place, ok bool) {
	path, p.Signature = strings.CutSuffix(path, ".asc")
	parts := strings.Split(path, "/")
	file := parts[len(parts)-1]
	var folder string
	switch {
	case len(parts) == 6 && parts[0] == "requests":
		folder = parts[4]
	case len(parts) == 3 && parts[0] == "policy":
		folder, p.Policy = parts[1], true
	case len(parts) == 5 && parts[0] == "records":
	default:
		return Place{}, false
	}
	if folder != "" {
		id, err := ParseID(folder)
		if err != nil {
			return Place{}, false
		}
		p.Request = id
	}
	switch {
	case file == "request.yaml" && folder != "" && !p.Policy:
		p.Kind, p.ID = KindRequest, p.Request
		return p, true
	case file == "policy.yaml" && p.Policy:
		p.Kind, p.ID = KindPolicy, p.Request
		return p, true
	}
	name, found := strings.CutSuffix(file, ".yaml")
	idText, kind, cut := strings.Cut(name, ".")
	if !found || !cut {
		return Place{}, false
	}
	id, err := ParseID(idText)
	if err != nil {
		return Place{}, false
	}
	p.ID, p.Kind = id, Kind(kind)
	return p, p.Kind.known() && p.Kind != KindRequest && p.Kind != KindPolicy
}

// CertificatePath gives the path of the certificate file data of the key fpr.
// Another version of the same certificate has another path beside it.
func CertificatePath(fpr Fingerprint, data []byte) string {
	sum := sha256.Sum256(data)
	return "keys/" + string(fpr) + "/" + hex.EncodeToString(sum[:8]) + ".asc"
}

// ParseCertificatePath reads the path of a certificate: the fingerprint of its
// primary key, and the first sixteen hexadecimal digits of the sha256 of its
// bytes, which the caller compares.
func ParseCertificatePath(path string) (Fingerprint, string, error) {
	bad := func() (Fingerprint, string, error) {
		return "", "", refuse(ReasonBadPath, "%q is not the path of a certificate", clip(path))
	}
	if len(path) > 128 {
		return bad()
	}
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[0] != "keys" {
		return bad()
	}
	fpr, err := ParseFingerprint(parts[1])
	if err != nil {
		return bad()
	}
	sum, ok := strings.CutSuffix(parts[2], ".asc")
	if !ok || len(sum) != 16 || !isHex(sum) {
		return bad()
	}
	return fpr, sum, nil
}

// isHex reports whether s has lower-case hexadecimal digits only.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
