package vectors

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

var (
	differentialCases = flag.Int("differential.cases", 420, "how many attempts TestDifferential makes")
	differentialSeed  = flag.Uint64("differential.seed", 1, "from what they follow")
)

// stricter are the reasons for which jit may refuse what gpg takes for good, and why it
// does. Another reason is a difference that nobody has thought about.
var stricter = map[record.Reason]string{
	record.ReasonSigArmor:       "text around the block may mislead a person who reads the file",
	record.ReasonSigPackets:     "one packet: what else is there is not what was signed",
	record.ReasonSigExtra:       "one form: whoever carries a signature could add to it",
	record.ReasonSigVersion:     "version 3 signs neither its key nor its own form",
	record.ReasonSigType:        "in text mode one signature stands for several files",
	record.ReasonSigHash:        "MD5, SHA-1 and SHA-224 do not hold",
	record.ReasonSigIssuer:      "a short key id can be made by anybody",
	record.ReasonSigExpires:     "a record is history: it does not end",
	record.ReasonSigTime:        "a signature's time is signed, and that of its record",
	record.ReasonSigMismatch:    "the hash's first octets are not signed: with others one signature has many forms",
	record.ReasonSigCritical:    "what must be understood, and jit does not, even where gpg does",
	record.ReasonKeyWeak:        "RSA of fewer than 2048 bits",
	record.ReasonKeySHA1:        "a self-signature by a hash function that can be forged gives a key what it does not have",
	record.ReasonKeyExpired:     "of two statements about a key, the one that gives it less",
	record.ReasonKeyNotSigning:  "of two statements about a key, the one that gives it less; and no statement gives nothing",
	record.ReasonKeyRevoked:     "what is revoked stays so, its user id too",
	record.ReasonKeyCompromised: "the same",
	record.ReasonKeyNotYet:      "no key signs before it is made",
	record.ReasonKeyUnknown:     "a subkey counts as far as this certificate's own signatures bear it out",
	record.ReasonCertArmor:      "as for signatures",
	record.ReasonCertPackets:    "one certificate a file, well framed",
	record.ReasonCertSelfSig:    "what a key has not said of itself is noise, and a statement that is not understood too",
	record.ReasonBadYAML:        "the record is read too",
}

// TestDifferential changes signatures and certificates in every way that it knows and
// has each judged by jit and by gpg. What jit takes, gpg takes.
func TestDifferential(t *testing.T) {
	all := attempts(*differentialSeed, *differentialCases)
	g := newJudge(t)
	says, good := make([]string, len(all)), make([]bool, len(all))
	rings := map[string]string{}
	var work sync.WaitGroup
	var mu sync.Mutex
	turns := make(chan bool, 2)
	for i, a := range all {
		turns <- true
		work.Go(func() {
			defer func() { <-turns }()
			mu.Lock()
			ring := rings[string(a.certFile)]
			mu.Unlock()
			if ring == "" {
				ring = g.keyring(t, a.certFile)
				mu.Lock()
				rings[string(a.certFile)] = ring
				mu.Unlock()
			}
			says[i], good[i] = g.verify(t, ring, a.data, a.sig)
		})
	}
	work.Wait()

	var both, neither, lax, strict int
	type row struct {
		class  string
		reason record.Reason
	}
	table, classes := map[row]int{}, map[string]bool{}
	for i, a := range all {
		classes[a.class] = true
		_, reason := jit(a.data, a.sig, a.certFile)
		switch {
		case reason == "" && good[i]:
			both++
		case reason != "" && !good[i]:
			neither++
		case reason == "":
			lax++
			t.Errorf("attempt %d of seed %d (%s): jit accepts, gpg says %q\n%s\n%s", i, *differentialSeed, a.class, says[i], a.sig, a.certFile)
		default:
			strict++
			table[row{a.class, reason}]++
			if stricter[reason] == "" {
				t.Errorf("attempt %d of seed %d (%s): gpg takes it, jit says %s, which is not among the reasons to be stricter", i, *differentialSeed, a.class, reason)
			}
		}
	}
	// The test says something only where all three come up often.
	if least := len(all) / 20; both < least || neither < least || strict < least {
		t.Errorf("%d accepted by both, %d by neither, %d by gpg alone: too few of %d", both, neither, strict, len(all))
	}
	t.Logf("%d attempts of %d classes, seed %d: accepted by both %d, refused by both %d, by jit alone accepted %d, by gpg alone accepted %d",
		len(all), len(classes), *differentialSeed, both, neither, lax, strict)
	var b strings.Builder
	rows := slices.SortedFunc(maps.Keys(table), func(x, y row) int {
		return strings.Compare(string(x.reason)+x.class, string(y.reason)+y.class)
	})
	for _, r := range rows {
		fmt.Fprintf(&b, "\n%-17s %4d  %-36s %s", r.reason, table[r], r.class, stricter[r.reason])
	}
	t.Logf("jit is stricter:%s", b.String())
}
