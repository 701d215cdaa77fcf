package ledger_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"pgregory.net/rapid"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// maker makes one random store: a chain of commits in which valid records, flawed
// ones and an attacker's noise stand mixed. It tells what it did, for the day on
// which the ledger and the reference disagree.
type maker struct {
	rt   *rapid.T
	plan plan
	dice []int // of what is made now
	*cast
	*chain
	ref   *reference
	now   time.Time
	first record.Digest

	tree    map[string]leaf // of the commit that is made
	said    []string        // about it
	story   []string
	pending []delivery
	keep    int                        // for how many commits the next record is kept back; 0 for none
	past    map[string][]gitstore.Hash // what each path held
	paths   []string                   // the keys of past, oldest first

	ids      []record.ID
	asked    []askedFor
	proposed []proposedVersion
	terms    map[record.Digest]terms
}

type askedFor struct {
	request.Request
	digest record.Digest
}

type proposedVersion struct {
	id     record.ID
	digest record.Digest
}

// delivery is what comes in a later commit.
type delivery struct {
	files []file
	in    int // commits
	what  string
}

// A plan is all that is random in a store, as throws of dice, so that rapid can take
// out a commit or an event and leave the others as they are. A die that is missing
// counts as 0, and 0 always means the plainest thing.
type plan struct {
	first   []int
	commits []plannedCommit
	last    []int
}

type plannedCommit struct {
	events [][]int
	fold   []int // how it is folded
}

// die is a number below 256, each as likely as the others. The numbers that rapid
// itself draws are mostly small.
var die = rapid.Custom(func(t *rapid.T) int {
	n := 0
	for range 8 {
		n *= 2
		if rapid.Bool().Draw(t, "bit") {
			n++
		}
	}
	return n
})

func dice(n int) *rapid.Generator[[]int] { return rapid.SliceOfN(die, n, n) }

var plans = rapid.Custom(func(t *rapid.T) plan {
	commit := rapid.Custom(func(t *rapid.T) plannedCommit {
		return plannedCommit{rapid.SliceOfN(dice(17), 1, 4).Draw(t, "events"), dice(5).Draw(t, "fold")}
	})
	return plan{dice(18).Draw(t, "first"), rapid.SliceOfN(commit, 2, 20).Draw(t, "commits"), dice(5).Draw(t, "last")}
})

func (m *maker) throw() int {
	if len(m.dice) == 0 {
		return 0
	}
	n := m.dice[0]
	m.dice = m.dice[1:]
	return n
}

// below is a number below n.
func (m *maker) below(n int) int { return m.throw() * n >> 8 }

// seldom is true in so many of 256 cases.
func (m *maker) seldom(in256 int) bool { return m.throw() >= 256-in256 }

func pick[T any](m *maker, from ...T) T { return from[m.below(len(from))] }

func (m *maker) say(format string, args ...any) {
	m.said = append(m.said, fmt.Sprintf(format, args...))
}

// makeStore makes the store of a plan.
func makeStore(rt *rapid.T, c *cast) *maker {
	m := &maker{rt: rt, cast: c, chain: &chain{blobs: map[gitstore.Hash][]byte{}}, now: noon, past: map[string][]gitstore.Hash{}, terms: map[record.Digest]terms{}}
	m.ref = &reference{chain: m.chain}
	m.plan = plans.Draw(rt, "plan")
	m.dice = m.plan.first
	m.genuine = m.seldom(10)
	m.begin()
	for _, c := range m.plan.commits {
		m.tree = maps.Clone(m.trees[len(m.trees)-1])
		m.arrivals()
		for i, event := range c.events {
			m.dice = event
			if i == 0 {
				m.now = m.now.Add(pick[time.Duration](m, 5, 1, 5, 20, 20, 40, 5, 90, 1, 20, 5, 400) * time.Minute)
			}
			m.event()
		}
		m.finish()
	}
	return m
}

// finish adds the commit.
func (m *maker) finish() {
	m.commit(m.tree)
	m.story = append(m.story, fmt.Sprintf("%2d. %s: %s", len(m.commits), m.now.Format("02 15:04"), strings.Join(m.said, "; ")))
	m.said = nil
	m.ref.read()
}

// begin makes the first commit: a policy and most of the certificates.
func (m *maker) begin() {
	m.tree = map[string]leaf{}
	t := firstTerms
	t.threshold += m.below(2)
	t.stages += m.below(2)
	t.family = pick(m, families...)
	head := record.Head{APIVersion: record.APIVersion, Kind: record.KindPolicy, ID: m.id(), Created: record.At(m.now), By: "alice"}
	text := headText(head) + m.body(t)
	m.first = record.Sum([]byte(text))
	m.ref.identity, m.terms[m.first] = record.StoreID(m.first), t
	for _, f := range m.sign(text, "alice", record.PathOf(head, "", false), m.now) {
		m.put(f.path, f.data)
	}
	m.say("the store begins, %d of alice and dave must agree", t.threshold)
	for _, key := range keyNames {
		f := certFile(m.certs[key].Armor())
		if key == "mallory" && !m.seldom(128) || key != "alice" && m.seldom(24) {
			m.pending = append(m.pending, delivery{[]file{f}, 1 + m.below(6), "the certificate of " + key})
			continue
		}
		m.put(f.path, f.data)
	}
	m.finish()
}

// put lays a file. A file and a folder of one name cannot be: the newer stays.
func (m *maker) put(path, data string) {
	for other := range m.tree {
		if strings.HasPrefix(other, path+"/") || strings.HasPrefix(path, other+"/") {
			delete(m.tree, other)
		}
	}
	m.set(path, leaf{regular, m.blob(data)})
}

func (m *maker) set(path string, l leaf) {
	m.tree[path] = l
	if _, ok := m.past[path]; !ok {
		m.paths = append(m.paths, path)
	}
	m.past[path] = append(m.past[path], l.blob)
}

// arrivals lays what was due in this commit.
func (m *maker) arrivals() {
	for i := range m.pending {
		p := &m.pending[i]
		if p.in--; p.in == 0 {
			for _, f := range p.files {
				m.put(f.path, f.data)
			}
			m.say("there comes %s", p.what)
		}
	}
	m.pending = slices.DeleteFunc(m.pending, func(p delivery) bool { return p.in == 0 })
}

// deliver lays a record and its signature, mostly as one should.
func (m *maker) deliver(files []file, what string) {
	later := 1 + m.below(3)
	then := func(what string, files ...file) { m.pending = append(m.pending, delivery{files, later, what}) }
	now := func(files ...file) {
		for _, f := range files {
			m.put(f.path, f.data)
		}
	}
	if m.keep > 0 {
		later, m.keep = m.keep, 0
		then(what, files...)
		m.say("%s (kept)", what)
		return
	}
	garbage := func(i int) file { return file{files[i].path, "garbage of " + what} }
	switch way := m.throw(); {
	case way < 216:
		now(files...)
	case way < 222:
		now(files[0])
		then("the signature of: "+what, files[1])
		what += " (its signature comes later)"
	case way < 226:
		now(files[1])
		then("the record of: "+what, files[0])
		what += " (its signature comes first)"
	case way < 231:
		then(what, files...)
		what += " (comes later)"
	case way < 236:
		now(garbage(0))
		then(what, files...)
		what += " (there is garbage first)"
	case way < 239:
		now(files[0], garbage(1))
		then("the signature of: "+what, files[1])
		what += " (with a garbage signature first)"
	case way < 241:
		now(file{files[0].path, files[0].data + "\n"}, files[1])
		what += " (with a byte more)"
	case way < 244:
		now(files[0])
		what += " (without a signature)"
	case way < 246:
		now(files[1])
		what += " (only the signature)"
	case way < 248:
		now(files[0], file{files[1].path, string(m.blobs[m.past[pick(m, m.paths...)][0]])})
		what += " (with another file as its signature)"
	case way < 250:
		now(files[0], file{files[1].path, strings.Repeat("x", record.MaxSignatureSize+1)})
		then("the signature of: "+what, files[1])
		what += " (with too large a signature first)"
	default:
		place, err := record.ParsePath(files[0].path)
		if err == nil {
			place.Request = pick(m, m.ids...)
			if m.seldom(64) {
				place.Request = ""
			}
			place.Policy = m.seldom(64)
			now(file{place.Path(), files[0].data}, file{record.SignaturePath(place.Path()), files[1].data})
			what += " (at the wrong place)"
		}
	}
	m.say("%s", what)
}

// event is one thing that somebody does.
func (m *maker) event() {
	switch n := m.throw(); {
	case n < 40 || n < 160 && len(m.ref.ids(record.KindRequest)) == 0 && !m.seldom(16):
		m.ask()
	case n < 112:
		m.approve()
	case n < 144:
		m.besides([]record.Kind{record.KindWithdrawal, record.KindWithdrawal, record.KindCancellation, record.KindDenial, record.KindRevocation,
			record.KindRevocation, record.KindComment}[n%7])
	case n < 156:
		m.receipt()
	case n < 160:
		m.heartbeat()
	case n < 186:
		m.propose()
	case n < 214:
		m.agree()
	case n < 222:
		m.certificate()
	case n >= 232:
		m.standing()
	default:
		m.attack()
	}
}

// certificate publishes one, again or with a revocation.
func (m *maker) certificate() {
	key := pick(m, keyNames...)
	at := m.now.Add(pick[time.Duration](m, 0, -40, 40) * time.Hour).Truncate(time.Hour)
	switch n := m.below(12); {
	case n < 3:
		f := m.revocation(key, record.RevokedSoft, at)
		m.put(f.path, f.data)
		m.say("key %s is retired", key)
	case n < 5:
		f := m.revocation(key, record.RevokedHard, at)
		m.put(f.path, f.data)
		m.say("key %s is compromised, as of %s", key, at.Format("02 15:04"))
	case n < 6:
		f := certFile(m.certs[key].Armor())
		m.put(f.path, f.data)
		m.say("the certificate of %s again", key)
	case n < 7:
		f, other := certFile(m.certs[key].Armor()), certFile(m.certs["mallory"].Armor())
		m.put(f.path[:strings.LastIndex(f.path, "/")]+other.path[strings.LastIndex(other.path, "/"):], other.data)
		m.say("mallory's certificate as that of %s", key)
	case n < 11:
		reason := pick(m, packet.KeyRetired, packet.KeyCompromised, packet.NoReason)
		f := m.subkeyRevocation(key, 1+m.below(2), reason, at)
		m.put(f.path, f.data)
		m.say("a subkey of %s is revoked, %d, as of %s", key, reason, at.Format("02 15:04"))
	default:
		f := m.revocation(key, record.RevokedSoft, at)
		m.put(f.path, "garbage")
		m.pending = append(m.pending, delivery{[]file{f}, 1 + m.below(3), "the retirement of key " + key})
		m.say("garbage where key %s will be retired", key)
	}
}

// strange are paths that an attacker lays without a model.
var strange = []string{"README", "readme", "notes", "notes/x", "notes/X", "Requests/x", "requests/README", "KEYS/x", "keys/x.asc", "a b/c", "-x", "end.",
	"1/2/3/4/5/6/7/8", "1/2/3/4/5/6/7/8/9", "records/2026/11/24/01JGXDFAM0NRWGJ9NMJN8N29X9.comment.yaml", "policy/.gitkeep", "git~1/x"}

// attack is what somebody who may push does with files that are there.
func (m *maker) attack() {
	if m.seldom(64) {
		m.turnRound()
		return
	}
	path := pick(m, m.paths...)
	if n := len(m.paths); n > 6 && m.seldom(128) {
		path = pick(m, m.paths[n-6:]...)
	}
	past := m.past[path]
	l, there := m.tree[path]
	switch n := m.below(16); {
	case n < 3 && there:
		delete(m.tree, path)
		m.say("%s is deleted", path)
	case n < 5:
		m.put(path, pick(m, "other", "else", ""))
		m.say("%s is overwritten", path)
	case n < 8:
		m.put(path, string(m.blobs[past[0]]))
		m.say("%s holds its first bytes again", path)
	case n < 9:
		m.put(path, string(m.blobs[past[m.below(len(past))]]))
		m.say("%s holds the bytes of an earlier time", path)
	case n < 10 && there:
		m.set(path, leaf{pick(m, "100755", "120000"), l.blob})
		m.say("%s becomes a program or link", path)
	case n < 11 && there:
		twin := twinOf(path, m.below(3))
		m.put(twin, "garbage")
		m.say("%s stands beside its twin", twin)
	case n < 12:
		folder := path[:strings.LastIndex(path, "/")+1]
		maps.DeleteFunc(m.tree, func(p string, _ leaf) bool { return folder != "" && len(m.trees) > 1 && strings.HasPrefix(p, folder) })
		m.say("all in %s is deleted", folder)
	case n < 13:
		to := pick(m, m.paths...)
		m.put(to, string(m.blobs[past[0]]))
		m.say("%s is copied to %s", path, to)
	default:
		path = pick(m, strange...)
		m.put(path, pick(m, "x", "y", ""))
		m.say("%s is laid there", path)
	}
}

// twinOf changes the case of one part of a path, counted from the end.
func twinOf(path string, part int) string {
	parts := strings.Split(path, "/")
	i := len(parts) - 1 - min(part, len(parts)-1)
	if up := strings.ToUpper(parts[i]); up != parts[i] {
		parts[i] = up
	} else {
		parts[i] = strings.ToLower(parts[i])
	}
	return strings.Join(parts, "/")
}

// inForce gives the digest of the version in force, or seldom another's.
func (m *maker) inForce() record.Digest {
	if n := len(m.proposed); n > 0 && m.seldom(16) {
		return m.proposed[m.below(n)].digest
	}
	return m.ref.inForce().Digest()
}
