package vectors

import "bytes"

// cert is a certificate in the making: packets in their order.
type cert struct {
	key     *key
	packets [][]byte
}

// Flags of a key (RFC 9580, section 5.2.3.29).
const (
	flagCertify = 1
	flagSign    = 2
	flagEncrypt = 12
)

// newCert begins with the key's packet.
func newCert(k *key) *cert { return &cert{key: k, packets: [][]byte{packet(tagPublicKey, k.body)}} }

func (c *cert) add(tag int, body []byte) *cert {
	c.packets = append(c.packets, packet(tag, body))
	return c
}

// user adds a user id with its self-signature, which change may alter.
func (c *cert) user(name string, flags byte, change ...func(*shape)) *cert {
	s := c.key.usual(sigPositive, c.key.created)
	s.hashed = append(s.hashed, sub{kind: subFlags, body: []byte{flags}})
	for _, f := range change {
		f(&s)
	}
	return c.add(tagUserID, []byte(name)).add(tagSignature, c.key.sign(s, userContent(c.key, name)))
}

// over adds a signature over the primary key itself.
func (c *cert) over(kind byte, at uint32, more ...sub) *cert {
	s := c.key.usual(kind, at)
	s.hashed = append(s.hashed, more...)
	return c.add(tagSignature, c.key.sign(s, c.key.keyContent()))
}

// subkey adds a subkey that signs, with the signature of each over the other; change
// may alter the binding.
func (c *cert) subkey(k *key, flags byte, change ...func(*shape)) *cert {
	content := append(c.key.keyContent(), k.keyContent()...)
	s := c.key.usual(sigBinding, k.created)
	s.hashed = append(s.hashed, sub{kind: subFlags, body: []byte{flags}})
	if flags&flagSign != 0 {
		s.hashed = append(s.hashed, sub{kind: subEmbedded, body: k.sign(k.usual(sigPrimaryKey, k.created), content)})
	}
	for _, f := range change {
		f(&s)
	}
	return c.add(tagSubkey, k.body).add(tagSignature, c.key.sign(s, content))
}

// revokeSubkey adds a revocation of the subkey before it.
func (c *cert) revokeSubkey(k *key, at uint32, reason byte) *cert {
	s := c.key.usual(sigSubkeyRevoked, at)
	s.hashed = append(s.hashed, revocation(reason))
	return c.add(tagSignature, c.key.sign(s, append(c.key.keyContent(), k.keyContent()...)))
}

// Reasons of a revocation (RFC 9580, section 5.2.3.31).
const (
	reasonNone        = 0
	reasonSuperseded  = 1
	reasonCompromised = 2
	reasonRetired     = 3
)

func revocation(reason byte) sub {
	return sub{kind: subReason, body: append([]byte{reason}, "moved on"...)}
}

// raw is the certificate's bytes, armour the usual block.
func (c *cert) raw() []byte    { return bytes.Join(c.packets, nil) }
func (c *cert) armour() []byte { return armour(blockKey, c.raw()) }

// revoked is the certificate with a revocation after its key.
func (c *cert) revoked(at uint32, reason byte) *cert {
	r := (&cert{key: c.key}).over(sigKeyRevoked, at, revocation(reason))
	packets := append([][]byte{c.packets[0]}, r.packets...)
	return &cert{key: c.key, packets: append(packets, c.packets[1:]...)}
}
