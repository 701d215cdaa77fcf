package ledger

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// How the index keeps what has a form of its own as text: as the bytes that the
// text stands for.

// idBytes gives an id's sixteen bytes, whose order is that of the text; none for
// none.
func idBytes(id record.ID) []byte {
	u, err := ulid.ParseStrict(string(id))
	if err != nil {
		return []byte{}
	}
	return u[:]
}

func idOf(b []byte) record.ID {
	var u ulid.ULID
	if len(b) != len(u) {
		return ""
	}
	copy(u[:], b)
	return record.ID(u.String())
}

// idLength is that of an id as text.
const idLength = 26

// idRange gives the least and the greatest id that begins with text, which has
// an id's letters only.
func idRange(text string) (first, last []byte) {
	pad := func(with string) []byte { return idBytes(record.ID(text + strings.Repeat(with, idLength-len(text)))) }
	return pad("0"), pad("Z")
}

// isIDText reports whether text can be a part of an id.
func isIDText(text string) bool {
	return len(text) <= idLength && strings.Trim(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
}

// tailLength is how many of an id's last characters people type.
const tailLength = 6

// tailOf is a number for the end by which people name a record.
func tailOf(id record.ID) int64 {
	b := idBytes(id)
	if len(b) == 0 {
		return -1
	}
	return int64(binary.BigEndian.Uint32(b[12:]) & (1<<(5*tailLength) - 1)) // five bits a character
}

// tailOfText is tailOf for an id of which text is the end.
func tailOfText(text string) int64 {
	end := text[max(0, len(text)-tailLength):]
	return tailOf(record.ID(strings.Repeat("0", idLength-len(end)) + end))
}

// tailRange gives the numbers of the ends that begin with text; none where it is
// longer than an end.
func tailRange(text string) (low, high int64) {
	if len(text) > tailLength {
		return 0, -1
	}
	missing := tailLength - len(text)
	return tailOfText(text + strings.Repeat("0", missing)), tailOfText(text + strings.Repeat("Z", missing))
}

func hashBytes(h gitstore.Hash) []byte {
	b, err := hex.DecodeString(string(h))
	if err != nil {
		return []byte(h) // a name that is none, as those of what is not in the store
	}
	return b
}

func hashOf(b []byte) gitstore.Hash {
	if len(b) == 20 {
		return gitstore.Hash(hex.EncodeToString(b))
	}
	return gitstore.Hash(b)
}

func digestBytes(d record.Digest) []byte {
	b, err := hex.DecodeString(string(d))
	if err != nil {
		return []byte(d)
	}
	return b
}

func fingerprintOf(b []byte) record.Fingerprint {
	return record.Fingerprint(strings.ToUpper(hex.EncodeToString(b)))
}

// dictionary is what most requests have in common, so that it need not be kept
// with each. It is part of the index's form: see Version.
var dictionary = []byte(`"Cancellations":[{"Record":{"APIVersion":"jit/v1","Kind":"cancellation","Reason":"","Revocations":[{"Record":{"APIVersion":"jit/v1","Kind":"revocation",` +
	`"Denials":[{"Record":{"APIVersion":"jit/v1","Kind":"denial","Withdrawals":[{"Comments":[{"Void":{` +
	`"Cause":"cancelled","Cause":"revoked","Outcome":"failed","Standing":true,` +
	`{"Request":{"Record":{"APIVersion":"jit/v1","Kind":"request","ID":"01","Store":"","Head":"","Created":"202","By":"","Grants":[{"resource":"","role":""}],"Duration":{"Duration":3600000000000},"Start":null,"Reason":"","Ticket":"","Expires":"202"},"Position":1,"Order":0,"HeadAt":1,"Key":""},"Digest":"",` +
	`"Approvals":[{"Record":{"APIVersion":"jit/v1","Kind":"approval","ID":"01","Store":"","Head":"","Created":"202","By":"","Request":"01","RequestDigest":"","Duration":{"Duration":0},"Comment":""},"Position":1,"Order":0,"HeadAt":1,"Key":""}],` +
	`"Receipts":[{"Record":{"APIVersion":"jit/v1","Kind":"receipt","ID":"01","Store":"","Head":"","Created":"202","By":"","Request":"01","RequestDigest":"","Resource":"","Role":"","Account":"","Outcome":"applied","Ends":"202:00Z","Cause":"","Standing":false,"SessionsEnded":0,"Left":null,"Detail":"","Ledger":""},"Position":1,"Order":0,"HeadAt":1,"Key":""},` +
	`{"Record":{"APIVersion":"jit/v1","Kind":"receipt","ID":"01","Store":"","Outcome":"ended","Ends":null,"Cause":"expired","Standing":false,"SessionsEnded":0,"Left":null,"Detail":"","Ledger":""},"Position":1,"Order":0,"HeadAt":1,"Key":""}]}`)

// packLevel is the quickest that uses a dictionary: compress/flate passes over it below.
const packLevel = 2

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriterDict(nil, packLevel, dictionary)
	if err != nil {
		panic(err) // only for a level that there is not
	}
	return w
}}

var inflaters = sync.Pool{New: func() any { return flate.NewReaderDict(bytes.NewReader(nil), dictionary) }}

// pack writes v for the index.
func pack(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	_, err = w.Write(text)
	err = errors.Join(err, w.Close()) // which writes the end
	return out.Bytes(), err
}

// unpackText gives what pack wrote, as JSON.
func unpackText(data []byte) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(data), dictionary); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return text, nil
}

// unpack reads what pack wrote.
func unpack(data []byte, into any) error {
	text, err := unpackText(data)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
