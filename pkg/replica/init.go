package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// InitOptions say what a new store begins with.
type InitOptions struct {
	Body policy.Body
	// By is the admin who signs.
	By     string
	Signer record.Signer
	// Certificates are those of the people in Body; the signer's is among them.
	Certificates []*record.Certificate
	Now          time.Time
}

// Init makes a store in an empty remote, or in a folder that does not exist
// yet, and gives its identity. It refuses a remote that is not empty, and a
// policy that could not be used.
func Init(ctx context.Context, c Config, o InitOptions) (record.StoreID, error) {
	id, err := record.NewID(o.Now, rand.Reader)
	if err != nil {
		return "", err
	}
	doc := policy.Document{Head: record.Head{APIVersion: record.APIVersion, Kind: record.KindPolicy, ID: id,
		Created: record.At(o.Now), By: o.By}, Body: o.Body}
	if _, err := policy.Compile(doc, ""); err != nil {
		return "", err
	}
	if !slices.Contains(o.Body.Admins.People, o.By) {
		return "", &policy.Refusal{Code: policy.NotAdmin, Message: fmt.Sprintf("%s is not among the admins of the first policy", o.By)}
	}
	data, err := record.Encode(doc)
	if err != nil {
		return "", err
	}
	sig, _, err := record.SignRecord(ctx, o.Signer, data, o.Now)
	if err != nil {
		return "", err
	}
	path := record.PathOf(doc.Head, "", false)
	a := gitstore.Append{Message: o.By + " makes the store\n\nJit-Kind: policy\nJit-By: " + o.By + "\n", Author: o.By, Email: o.By + "@jit.invalid", When: o.Now,
		Files: []gitstore.NewFile{{Path: path, Data: data}, {Path: record.SignaturePath(path), Data: sig}}}
	for _, cert := range o.Certificates {
		armor := cert.Armor()
		a.Files = append(a.Files, gitstore.NewFile{Path: record.CertificatePath(cert.Fingerprint(), armor), Data: armor})
	}
	if folder, ok := localFolder(c.URL); ok {
		if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
			branch := c.Branch
			if branch == "" {
				branch = gitstore.DefaultBranch
			}
			if err := gitstore.CreateBare(folder, branch); err != nil {
				return "", err
			}
		}
	}
	store, _, err := gitstore.Init(ctx, gitstore.Options{Dir: c.Dir, URL: c.URL, Branch: c.Branch, Transport: c.Transport,
		SSH: c.SSH, Isolated: c.Isolated, Env: c.Env, Timeout: c.Timeout, Logger: c.Log}, a)
	if err != nil {
		return "", err
	}
	return record.StoreID(record.Sum(data)), store.Close()
}

// localFolder gives the folder that a URL names, where it names one.
func localFolder(url string) (string, bool) {
	if rest, ok := strings.CutPrefix(url, "file://"); ok {
		return rest, true
	}
	return url, filepath.IsAbs(url) || strings.HasPrefix(url, ".")
}

// Candidate is what a machine would trust if it pinned a store.
type Candidate struct {
	Identity record.StoreID
	Head     gitstore.Hash
	Admins   []AdminKey
	// Threshold is how many admins must agree on a change.
	Threshold int
	Records   int
	SetAside  int
}

// AdminKey is one key of an admin.
type AdminKey struct {
	Name        string
	Fingerprint record.Fingerprint
}

// Inspect fetches and judges a store that is not pinned yet, and says what
// there is to confirm. c.Dir keeps what was fetched, for the Open that pins it;
// no checkpoint is set.
func Inspect(ctx context.Context, c Config) (Candidate, error) {
	c.Identity = ""
	r, err := Open(ctx, c)
	if err != nil {
		return Candidate{}, err
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Sync(ctx); err != nil {
		return Candidate{}, err
	}
	head, _ := r.ledger.Head()
	admins := r.ledger.Policy().Document().Admins
	found := Candidate{Identity: r.ledger.Identity(), Head: head, Threshold: admins.Threshold}
	for _, name := range admins.People {
		person, _ := r.ledger.Policy().Person(name)
		for _, k := range person.Keys {
			found.Admins = append(found.Admins, AdminKey{name, k})
		}
	}
	found.Records, found.SetAside, err = r.ledger.Counts()
	return found, err
}
