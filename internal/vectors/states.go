package vectors

import (
	"bytes"
	"strings"
	"time"
)

// armours: the text around the packets.
func (m *maker) armours() {
	k := alice()
	data, cert := plainRecord(), person(k).armour()
	good := string(signature(k, data))
	body := signatureBody(k, data)
	replace := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	for _, c := range []struct{ name, text, expect, gpg, why string }{
		{"empty", "", "sig-missing", "nothing", "an empty file"},
		{"header", replace("\n\n", "\nComment: approved\n\n"), "sig-armor", "good", "a header, which people may take for a part of what is signed"},
		{"version", replace("\n\n", "\nVersion: x\n\n"), "sig-armor", "good", "another header"},
		{"text-before", "approved\n" + good, "sig-armor", "good", "text before the block"},
		{"text-after", good + "approved\n", "sig-armor", "good", "text after the block"},
		{"blank-after", good + "\n", "sig-armor", "good", "an empty line after the block"},
		{"twice", good + good, "sig-armor", "good+good", "two blocks"},
		{"crlf", strings.ReplaceAll(good, "\n", "\r\n"), "sig-armor", "good", "line ends of two characters"},
		{"no-checksum", good[:strings.LastIndex(good, "\n=")+1] + good[strings.LastIndex(good, "-----END"):], "sig-armor", "good", "no checksum"},
		{"checksum", replace("\n=", "\n=A")[:len(good)-len("-----END PGP SIGNATURE-----\n")-2] + "\n-----END PGP SIGNATURE-----\n", "sig-armor", "nothing", "another checksum"},
		{"kind", strings.ReplaceAll(good, "SIGNATURE", "MESSAGE"), "sig-armor", "good", "it calls itself a message"},
		{"space", replace("-----\n", "----- \n"), "sig-armor", "good", "a space after its first line"},
		{"binary", string(packet(tagSignature, body)), "sig-armor", "good", "no armour at all"},
		{"no-end", strings.Split(good, "-----END")[0], "sig-armor", "good", "its last line is missing"},
		{"no-line-end", strings.TrimSuffix(good, "\n"), "ok", "good", "its last line has no end"},
		{"one-line", strings.Join(strings.SplitN(good, "\n", 4)[:3], "\n") + strings.SplitN(good, "\n", 4)[3], "sig-armor", "good", "a line of 128 characters"},
		{"padding-bits", nonCanonical(good), "sig-armor", "good", "bits that base 64 leaves over are not zero"},
		{"too-large", good + strings.Repeat("\n", 17000), "sig-too-large", "good", "more than 16 KiB"},
	} {
		m.add("armour-"+c.name, c.expect, c.gpg, c.why, data, []byte(c.text), cert)
	}
}

// nonCanonical sets a bit in the checksum's neighbour that decoders may pass over: the
// last character before the padding of the last line, where there is padding.
func nonCanonical(text string) string {
	at := strings.Index(text, "=\n=")
	if at < 0 {
		panic("vectors: the signature's base 64 has no padding")
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for text[at-1] == '=' {
		at--
	}
	c := strings.IndexByte(letters, text[at-1])
	return text[:at-1] + string(letters[c^1]) + text[at:]
}

// certificates: the file of a key.
func (m *maker) certificates() {
	k, other := alice(), newKey("mallory", "ed25519", seconds(keyTime))
	data := plainRecord()
	sig := signature(k, data)
	one := func(name, expect, gpg, why string, certificate []byte) {
		m.add("cert-"+name, expect, gpg, why, data, sig, certificate)
	}
	good := person(k)
	text := string(good.armour())
	one("header", "cert-armor", "good", "a header in the armour", []byte(strings.Replace(text, "\n\n", "\nComment: x\n\n", 1)))
	one("text-after", "cert-armor", "good", "text after the block", []byte(text+"hello\n"))
	one("binary", "cert-armor", "good", "no armour", good.raw())
	one("bare", "cert-selfsig", "no-key", "a key without any signature", newCert(k).armour())
	forged := person(other)
	one("anothers-user", "cert-selfsig", "no-key", "a key with another key's user id",
		(&cert{packets: append([][]byte{good.packets[0]}, forged.packets[1:]...)}).armour())
	renamed := person(k)
	renamed.packets[1] = bytes.Replace(renamed.packets[1], []byte("Alice"), []byte("Mally"), 1)
	one("renamed", "cert-selfsig", "no-key", "another user id under the same signature", renamed.armour())
	one("two", "cert-packets", "good", "two certificates", armour(blockKey, append(good.raw(), person(other).raw()...)))
	one("junk", "cert-packets", "good", "a packet that is cut short", armour(blockKey, append(good.raw(), 0xcd, 5)))
	one("unknown-packets", "ok", "good", "packets that nobody knows, and a trust packet", person(k).add(60, []byte("x")).add(12, []byte("x")).armour())
	one("no-user", "key-revoked", "no-key", "no user id: a signature over the key itself says what it is for",
		newCert(k).over(sigDirect, seconds(keyTime), sub{kind: subFlags, body: []byte{flagCertify | flagSign}}).armour())
	one("others-signature", "ok", "good", "another's signature over the user id", func() []byte {
		c := person(k)
		return c.add(tagSignature, other.sign(other.usual(0x10, seconds(keyTime)), userContent(k, "Alice <alice@example.org>"))).armour()
	}())
	one("critical", "cert-selfsig", "no-key", "its self-signature carries a critical notation",
		newCert(k).user("Alice <alice@example.org>", flagCertify|flagSign, hashed(notation(true))).armour())
}

// signing gives a subkey for each kind of case.
func signing() *key { return newKey("alice signing", "ed25519", seconds(keyTime)) }

// states: keys that expired, were revoked, or are for something else.
func (m *maker) states() {
	k := alice()
	data := plainRecord()
	sig := signature(k, data)
	one := func(name, expect, gpg, why string, certificate *cert) {
		m.add("key-"+name, expect, gpg, why, data, sig, certificate.armour())
	}
	const user = "Alice <alice@example.org>"
	life := func(secs uint32) func(*shape) { return hashed(sub{kind: subKeyExpires, body: be32(secs)}) }
	signed := seconds(signTime) - seconds(keyTime)
	one("life", "ok", "good", "its end lies ahead", newCert(k).user(user, flagCertify|flagSign, life(2*year)))
	one("expired", "key-expired", "expired-key", "it had ended before it signed", newCert(k).user(user, flagCertify|flagSign, life(3600)))
	one("ends-then", "key-expired", "expired-key", "it ends in the second of the signature", newCert(k).user(user, flagCertify|flagSign, life(signed)))
	one("ended-since", "ok", "expired-key", "it ended after it signed", newCert(k).user(user, flagCertify|flagSign, life(signed+60)))
	one("sha1", "key-sha1", "good", "its self-signature is by SHA-1", newCert(k).user(user, flagCertify|flagSign, func(s *shape) { s.hash = hashSHA1 }))
	one("certify-only", "key-not-signing", "error", "it may certify, and not sign", newCert(k).user(user, flagCertify))
	for _, r := range []struct {
		name   string
		reason byte
		expect string
	}{{"superseded", reasonSuperseded, "key-revoked"}, {"retired", reasonRetired, "key-revoked"}, {"compromised", reasonCompromised, "key-compromised"}, {"no-reason", reasonNone, "key-compromised"}} {
		one("revoked-"+r.name, r.expect, "revoked-key", "revoked before it signed", person(k).revoked(seconds(signTime)-60, r.reason))
		one("revoked-"+r.name+"-later", r.expect, "revoked-key", "revoked after it signed: jit goes by what is known, not by the time claimed",
			person(k).revoked(seconds(signTime)+60, r.reason))
	}
	one("user-revoked", "key-revoked", "good", "its only user id is revoked", func() *cert {
		s := k.usual(sigUserRevoked, seconds(signTime)-60)
		return person(k).add(tagSignature, k.sign(s, userContent(k, user)))
	}())
	late := newKey("alice", "ed25519", seconds(signTime.Add(time.Hour)))
	m.add("key-not-yet", "key-not-yet", "no-key", "made after it signed", data, signature(late, data), person(late).armour())

	s := signing()
	subSig := signature(s, data)
	subOne := func(name, expect, gpg, why string, certificate *cert) {
		m.add("subkey-"+name, expect, gpg, why, data, subSig, certificate.armour())
	}
	subOne("good", "ok", "good", "a subkey that signs", person(k).subkey(s, flagSign))
	subOne("primary-certifies", "ok", "good", "a subkey that signs, of a key that does not", newCert(k).user(user, flagCertify).subkey(s, flagSign))
	subOne("not-signing", "key-not-signing", "error", "a subkey for something else", person(k).subkey(s, flagEncrypt))
	subOne("no-back-signature", "key-unknown", "error", "it has not signed that it belongs there", person(k).subkey(s, flagSign, without(subEmbedded)))
	subOne("moved-back-signature", "ok", "good", "its own signature stands in the unsigned part", person(k).subkey(s, flagSign, moved(subEmbedded)))
	subOne("sha1", "key-sha1", "good", "bound by SHA-1", person(k).subkey(s, flagSign, func(s *shape) { s.hash = hashSHA1 }))
	subOne("expired", "key-expired", "expired-key", "it had ended", person(k).subkey(s, flagSign, life(3600)))
	subOne("primary-expired", "key-expired", "expired-key", "the primary key had ended", newCert(k).user(user, flagCertify|flagSign, life(3600)).subkey(s, flagSign))
	subOne("revoked-superseded", "key-revoked", "revoked-key", "it was replaced", person(k).subkey(s, flagSign).revokeSubkey(s, seconds(signTime)-60, reasonSuperseded))
	subOne("revoked-compromised", "key-compromised", "revoked-key", "others may hold it", person(k).subkey(s, flagSign).revokeSubkey(s, seconds(signTime)-60, reasonCompromised))
	subOne("primary-revoked", "key-compromised", "revoked-key", "others may hold the primary key", person(k).subkey(s, flagSign).revoked(seconds(signTime)-60, reasonCompromised))
	subOne("stolen", "key-unknown", "error", "the subkey of another, who bound it to his own key", func() *cert {
		thief := newKey("mallory", "ed25519", seconds(keyTime))
		return person(thief).subkey(s, flagSign, func(b *shape) {
			for i, h := range b.hashed {
				if h.kind == subEmbedded { // what the owner's subkey signed, of the owner's key
					b.hashed[i].body = s.sign(s.usual(sigPrimaryKey, s.created), append(k.keyContent(), s.keyContent()...))
				}
			}
		})
	}())
}

// records: well signed texts that are no record.
func (m *maker) records() {
	k := alice()
	cert := person(k).armour()
	one := func(name, expect, why, text string) {
		m.add("record-"+name, expect, "good", why, []byte(text), signature(k, []byte(text)), cert)
	}
	replace := func(old, with string) string { return strings.Replace(headText+bodyText, old, with, 1) }
	one("plain", "ok", "as it should be", headText+bodyText)
	one("empty", "not-one-document", "nothing in it", "")
	one("version", "bad-version", "of another version", replace("jit/v1", "jit/v2"))
	one("no-version", "bad-version", "it does not say its version", replace("apiVersion: jit/v1\n", ""))
	one("kind", "bad-kind", "of no kind", replace("kind: comment", "kind: wish"))
	one("id", "bad-id", "an id in lower case", replace(recordID, strings.ToLower(recordID)))
	one("id-time", "id-time", "an id of another time", replace(recordID, "01M86CT8K00C000003000000R0"))
	one("order", "bad-value", "the head is not in order", replace("apiVersion: jit/v1\nkind: comment\n", "kind: comment\napiVersion: jit/v1\n"))
	one("missing", "missing-field", "it does not say by whom", replace("by: alice\n", ""))
	one("head", "bad-value", "its head is no commit", replace("0123456789abcdef0123456789abcdef01234567", "abcd"))
	one("store", "bad-value", "its store is no digest", replace("store: "+store, "store: here"))
	one("time", "bad-time", "a time with another zone", replace("2026-11-24T09:00:00Z", "2026-11-24T10:00:00+01:00"))
	one("time-apart", "sig-time", "it says another time than its signature", replace("2026-11-24T09:00:00Z", "2026-11-24T09:02:00Z"))
	one("duplicate-key", "duplicate-key", "a key twice", headText+bodyText+"comment: no\n")
	one("alias", "alias", "an anchor and an alias", headText+"request: &a x\ncomment: *a\n")
	one("merge", "alias", "a merge key", headText+"request: {<<: {a: b}}\n")
	one("tag", "tag", "a tag", headText+"comment: !!str x\n")
	one("yaml-comment", "yaml-comment", "a comment of YAML, which whoever signs about the record could take for a part of it", headText+strings.Replace(bodyText, "\n", " # seen by all\n", 1))
	one("two-documents", "not-one-document", "two documents", headText+bodyText+"---\n"+headText)
	one("marker", "not-one-document", "a document's marker", "---\n"+headText+bodyText)
	one("bom", "bom", "a byte order mark", "\ufeff"+headText+bodyText)
	one("latin-1", "not-utf8", "bytes that are no UTF-8", headText+"comment: caf\xe9\n")
	one("escape", "unsafe-text", "a control character", headText+"comment: \"\\e[31m\"\n")
	one("bidi", "unsafe-text", "a character that turns the text around", headText+"comment: a\u202eb\n")
	one("zero-width", "unsafe-text", "a character without width", headText+"comment: a\u200bb\n")
	one("tab", "unsafe-text", "a tab", headText+"comment: \"a\\tb\"\n")
	one("octal", "bad-number", "a number in another base", headText+"count: 0o17\n")
	one("float", "bad-number", "a fraction", headText+"count: 1.5\n")
	one("broken", "bad-yaml", "text that does not parse", headText+"comment: [\n")
	one("list", "bad-value", "a list", "- a\n")
	one("crlf", "unsafe-text", "line ends of two characters", strings.ReplaceAll(headText+bodyText, "\n", "\r\n"))
	one("too-large", "too-large", "more bytes than a comment may have", headText+"comment: |\n"+strings.Repeat("  "+strings.Repeat("a", 70)+"\n", 1200))
}
