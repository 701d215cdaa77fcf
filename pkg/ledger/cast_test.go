package ledger_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// cast are the people and machines of the random stores. Their keys are made once,
// and are the same in every run, so that a seed means the same store again.
type cast struct {
	at      time.Time // the signers' clock
	sets    map[string]*keySet
	certs   map[string]*record.Certificate
	bodies  map[terms]string
	revoked map[string]file
}

// keyNames are the keys: alice has two, and mallory is in no policy.
var keyNames = []string{"alice", "alice.2", "bob", "carol", "dave", "robot", "rover", "mallory"}

func newCast(t *testing.T) *cast {
	cryptotest.SetGlobalRandom(t, 4711)
	c := &cast{sets: map[string]*keySet{}, certs: map[string]*record.Certificate{}, bodies: map[terms]string{}, revoked: map[string]file{}}
	for _, name := range keyNames {
		var life time.Duration
		if name == "dave" {
			life = 66 * time.Hour // ends in the midst of a longer store
		}
		set, err := makeKeySet(name, noon.Add(-48*time.Hour), life, func() time.Time { return c.at })
		if err != nil {
			t.Fatal(err)
		}
		c.sets[name], c.certs[name] = set, set.cert
	}
	return c
}

func (c *cast) fingerprint(key string) record.Fingerprint { return c.certs[key].Fingerprint() }

// owner gives the name of the one to whom a key belongs.
func owner(key string) string { name, _, _ := strings.Cut(key, "."); return name }

// keyOf gives a key of one who is called so: carol has a second name.
func keyOf(name string) string {
	if name == "carla" {
		return "carol"
	}
	return name
}

// sign gives a record's file and that of its signature, made at a time, with the primary
// key or a subkey: which, the text says.
func (c *cast) sign(text, key, path string, at time.Time) []file {
	c.at = at
	signers := c.sets[key].signers
	sig, err := signers[int(sha256.Sum256([]byte(text))[0])%len(signers)].Sign(context.Background(), []byte(text))
	if err != nil {
		panic(err)
	}
	return []file{{path, text}, {record.SignaturePath(path), string(sig)}}
}

// revocation gives a key's certificate with a revocation in it.
func (c *cast) revocation(key string, kind record.RevocationKind, at time.Time) file {
	of := fmt.Sprint(key, kind, at)
	if f, ok := c.revoked[of]; ok {
		return f
	}
	armor, err := record.RevokeKey(c.sets[key].primary, kind, "over", at)
	if err != nil {
		panic(err)
	}
	c.revoked[of] = certFile(armor)
	return c.revoked[of]
}

// subkeyRevocation gives a key's certificate with a revocation of a subkey in it.
func (c *cast) subkeyRevocation(key string, subkey int, reason packet.ReasonForRevocation, at time.Time) file {
	of := fmt.Sprint(key, "/", subkey, reason, at)
	if _, ok := c.revoked[of]; !ok {
		c.revoked[of] = c.sets[key].revoked(subkey, reason, at)
	}
	return c.revoked[of]
}

// terms are what differs between the policy versions of the random stores.
type terms struct {
	admins    string // names, with a space between
	threshold int
	gone      string // who is not among the people, " bob dave"
	stages    int    // how many, or 0: approves by itself
	count     int    // how many must approve in the first
	hours     int    // the longest window
	meaning   string // of db:read
	driver    string // of web
	machines  string // " robot rover"
	oneKey    bool   // alice has only her second key
	renamed   bool   // carol is called carla
	lending   int    // for how many hours one may delegate, or 0
	delegates string // to whom, or empty: everybody
	family           // what has to do with other requests
}

var firstTerms = terms{admins: "alice dave", threshold: 1, stages: 1, count: 1, hours: 4, meaning: "readers", driver: "postgres", machines: " robot rover", lending: 24}

// change is what a proposal may change.
type change struct {
	name   string
	change func(*terms)
}

// leaving are those that take a person or a key away, and the last gives them back.
var leaving = []change{
	{"bob leaves", func(t *terms) { t.gone += " bob" }},
	{"alice has one key", func(t *terms) { t.oneKey = true }},
	{"all people and keys are back", func(t *terms) { t.gone, t.oneKey = "", false }},
}

// changes are what a proposal may change.
var changes = []change{
	{"nothing", func(*terms) {}},
	{"two admins must agree", func(t *terms) { t.threshold = 2 }},
	{"one admin is enough", func(t *terms) { t.threshold = 1 }},
	{"carol becomes an admin", func(t *terms) { t.admins = "alice carol dave" }},
	{"only dave is an admin", func(t *terms) { t.admins, t.threshold = "dave", 1 }},
	{"bob and dave are the admins, and must both agree", func(t *terms) { t.gone, t.admins, t.threshold = "", "bob dave", 2 }},
	{"alice and dave are the admins", func(t *terms) { t.admins = "alice dave" }},
	{"bob leaves", func(t *terms) { t.gone += " bob" }},
	{"carol leaves", func(t *terms) {
		t.gone += " carol"
		t.admins, t.threshold = "alice dave", min(t.threshold, 2)
	}},
	{"everybody is back", func(t *terms) { t.gone = "" }},
	{"two stages", func(t *terms) { t.stages = 2 }},
	{"one stage", func(t *terms) { t.stages = 1 }},
	{"needs nobody", func(t *terms) { t.stages = 0 }},
	{"two must approve", func(t *terms) { t.count = 2 }},
	{"one must approve", func(t *terms) { t.count = 1 }},
	{"at most one hour", func(t *terms) { t.hours = 1 }},
	{"at most four hours", func(t *terms) { t.hours = 4 }},
	{"db:read means more", func(t *terms) { t.meaning = "everything" }},
	{"db:read means less", func(t *terms) { t.meaning = "readers" }},
	{"web moves", func(t *terms) { t.driver = "mysql" }},
	{"rover leaves", func(t *terms) { t.machines = " robot" }},
	{"robot leaves", func(t *terms) { t.machines = " rover" }},
	{"both machines leave", func(t *terms) { t.machines = "" }},
	{"both machines are back", func(t *terms) { t.machines = " robot rover" }},
	{"alice has one key", func(t *terms) { t.oneKey = true }},
	{"alice has two keys", func(t *terms) { t.oneKey = false }},
	{"carol is called carla, or not", func(t *terms) { t.renamed = !t.renamed }},
	{"one may not delegate", func(t *terms) { t.lending, t.delegates = 0, "" }},
	{"one may delegate for long", func(t *terms) { t.lending, t.delegates = 100, "" }},
	{"one may delegate to ops", func(t *terms) { t.lending, t.delegates = 24, "team:ops" }},
	{"nobody must agree", func(t *terms) { t.threshold = 0 }}, // no policy
	{"db becomes web", func(t *terms) { t.driver = "" }},      // no policy
}

func (c *cast) bodyOf(t terms) policy.Body {
	b := policy.Body{
		Admins: policy.Admins{People: strings.Fields(t.admins), Threshold: t.threshold},
		People: map[string]policy.Person{
			"alice": {Keys: []record.Fingerprint{c.fingerprint("alice.2")}, Teams: []string{"ops"}},
			"bob":   {Keys: []record.Fingerprint{c.fingerprint("bob")}, Teams: []string{"dev"}},
			"carol": {Keys: []record.Fingerprint{c.fingerprint("carol")}, Teams: []string{"ops", "dev"}},
			"dave":  {Keys: []record.Fingerprint{c.fingerprint("dave")}, Teams: []string{"dev", "boss"}},
		},
		Reconcilers: map[string]policy.Reconciler{},
		Resources: map[string]policy.Resource{
			"db": {Driver: "postgres", Roles: map[string]policy.Role{"read": {Parameters: map[string]string{"role": t.meaning}},
				"write": {Parameters: map[string]string{"role": "writers"}}}},
			"web": {Driver: t.driver, Roles: map[string]policy.Role{"read": {}}},
		},
	}
	b.Delegation.Longest.Duration = time.Duration(t.lending) * time.Hour
	if t.delegates != "" {
		b.Delegation.To = []string{t.delegates}
	}
	if !t.oneKey {
		b.People["alice"] = policy.Person{Keys: append(b.People["alice"].Keys, c.fingerprint("alice")), Teams: []string{"ops"}}
	}
	for _, name := range strings.Fields(t.gone) {
		delete(b.People, name)
	}
	if carol, there := b.People["carol"]; there && t.renamed {
		b.People["carla"] = carol
		delete(b.People, "carol")
		b.Admins.People = strings.Fields(strings.ReplaceAll(t.admins, "carol", "carla"))
	}
	for _, name := range strings.Fields(t.machines) {
		b.Reconcilers[name] = policy.Reconciler{Keys: []record.Fingerprint{c.fingerprint(name)}, Resources: map[string][]string{"robot": {"db", "web"}, "rover": {"db"}}[name]}
	}
	hours := record.Duration{Duration: time.Duration(t.hours) * time.Hour}
	db := policy.Rule{Name: "db", Resources: []string{"db"}, Roles: []string{"*"}, Requesters: []string{"*"}, MaxDuration: hours}
	web := policy.Rule{Name: "web", Resources: []string{"web"}, Roles: []string{"*"}, Requesters: []string{"team:dev"}, MaxDuration: hours, Approve: policy.ApproveAuto}
	db.Stages = []policy.Stage{{Approvers: []string{"team:ops", "team:boss"}, Count: t.count}, {Approvers: []string{"team:boss", "alice"}, Count: 1}}[:t.stages]
	if t.stages == 0 {
		db.Stages, db.Approve = nil, policy.ApproveAuto
	} else if t.count == 2 {
		web.Stages, web.Approve = db.Stages[:1], ""
	}
	b.Rules = []policy.Rule{db, web}
	t.family.write(&b)
	return b
}

// body gives the YAML of a policy version, from "admins" on.
func (c *cast) body(t terms) string {
	if text, ok := c.bodies[t]; ok {
		return text
	}
	data, err := record.Encode(policy.Document{Head: record.Head{APIVersion: record.APIVersion, Kind: record.KindPolicy, ID: "01JGXDFAM0NRWGJ9NMJN8N29X9",
		Created: record.At(noon), By: "alice"}, Body: c.bodyOf(t)})
	if err != nil {
		panic(err)
	}
	_, text, _ := strings.Cut(string(data), "\nadmins:")
	c.bodies[t] = "admins:" + text
	return c.bodies[t]
}
