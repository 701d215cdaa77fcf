package record

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"time"
)

// fixed gives a key, a record and its signature for seeds. The key differs
// from run to run; the seeds below that do not hold it stay.
func fixed(t testing.TB) (ring *Keyring, data, sig, cert []byte) {
	t.Helper()
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	key, s, ring := signer(t, now)
	data = makeRecord(t, now)
	sig, err := s.Sign(context.Background(), data)
	if err != nil {
		t.Fatal(err)
	}
	return ring, data, sig, key.Certificate().Armor()
}

var documentSeeds = []string{
	testHead, testHead + "text: |\n  a\n  b\n", testHead + "params: {a: [1, true, \"x\"], b: 2026-11-24}\n", testHead + "text: &a !!str x\n",
	testHead + "grants:\n  - resource: a\n    role: b\n", "", "a: [", "- {a: b}", "? a\n: b\n", "\"\\u202e\": 1\n", "a: *a\n", "<<: {a: 1}\n", "a: ! b\n",
}

func FuzzDecodeHead(f *testing.F) {
	for _, s := range documentSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := DecodeHead(data)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		if _, err := ParseID(string(h.ID)); err != nil || h.APIVersion != APIVersion || h.By == "" || h.Created.IsZero() && h.Created.Unix() != 0 {
			t.Errorf("head %+v", h)
		}
	})
}

func FuzzDecodeStrict(f *testing.F) {
	for _, s := range documentSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r testRecord
		if err := DecodeStrict(data, &r); err != nil {
			if ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		// What is read is what the YAML library reads.
		root, err := parseStrict(data)
		if err != nil {
			t.Fatalf("read twice: %v", err)
		}
		var want testRecord
		if err := root.Decode(&want); err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%+v was read, and by the library %+v, %v", r, want, err)
		}
		if err := CheckText(r.Text); err != nil {
			t.Errorf("unsafe text came through: %v", err)
		}
		// What was read can be written and read again, or is refused.
		out, err := Encode(r)
		if err != nil {
			return
		}
		var back testRecord
		if err := DecodeStrict(out, &back); err != nil || back.Text != r.Text || len(back.Grants) != len(r.Grants) {
			t.Errorf("%q came back as %q: %v", r.Text, back.Text, err)
		}
	})
}

func FuzzParseCertificate(f *testing.F) {
	_, _, sig, cert := fixed(f)
	raw, err := dearmor(cert, armorPublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(append(bytes.Clone(raw), raw...))
	f.Add(raw[:60])
	f.Add(sig)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseCertificate(enarmor(raw, armorPublicKey))
		if err != nil {
			if ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		again, err := ParseCertificate(c.Armor())
		if err != nil || !bytes.Equal(again.Armor(), c.Armor()) {
			t.Errorf("the canonical form does not read back to itself: %v", err)
		}
		_ = c.CanSign(time.Unix(1764000000, 0))
	})
}

func FuzzInspectSignature(f *testing.F) {
	_, _, sig, cert := fixed(f)
	f.Add(sig)
	f.Add(cert)
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sig []byte) {
		issuer, created, err := InspectSignature(sig)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		if _, err := ParseFingerprint(string(issuer)); err != nil || created.IsZero() {
			t.Errorf("issuer %q at %v", issuer, created)
		}
	})
}

func FuzzVerify(f *testing.F) {
	ring, data, sig, _ := fixed(f)
	raw, err := dearmor(sig, armorSignature)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, raw)
	f.Add([]byte{}, raw)
	f.Add(data, []byte{})
	f.Fuzz(func(t *testing.T, d, raw []byte) {
		v, err := ring.Verify(d, enarmor(raw, armorSignature))
		if err == nil && !bytes.Equal(d, data) {
			t.Errorf("other bytes were verified: %q", v.Bytes())
		}
		if err != nil && (ReasonOf(err) == "" || !v.IsZero()) {
			t.Errorf("no reason, or a value: %v", err)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	day := ID(testID).Day()
	for _, s := range []string{
		"requests/" + day + "/" + testID + "/request.yaml", "policy/" + testID + "/policy.yaml.asc", "records/" + day + "/" + testID + ".comment.yaml",
		"keys/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/0123456789abcdef.asc", "", "a/../b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if p, err := ParsePath(path); err == nil && p.Path() != path {
			t.Errorf("%q is read as the path %q", path, p.Path())
		}
		if fpr, sum, err := ParseCertificatePath(path); err == nil && "keys/"+string(fpr)+"/"+sum+".asc" != path {
			t.Errorf("%q is read as %q, %q", path, fpr, sum)
		}
	})
}
