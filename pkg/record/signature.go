package record

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	// The hash functions that a signature may use.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// Signature types (RFC 9580, section 5.2.1).
const (
	sigBinary         = 0x00
	sigCertGeneric    = 0x10
	sigCertPositive   = 0x13
	sigSubkeyBinding  = 0x18
	sigDirectKey      = 0x1f
	sigKeyRevoked     = 0x20
	sigSubkeyRevoked  = 0x28
	sigCertRevocation = 0x30
)

// Signature subpackets (RFC 9580, section 5.2.3.7).
const (
	subCreated     = 2
	subExpires     = 3
	subIssuer      = 16
	subNotation    = 20
	subPolicyURI   = 26
	subEmbedded    = 32
	subFingerprint = 33
	subRecipient   = 35
)

// dataSignature is a detached signature that has passed every check which
// needs no key.
type dataSignature struct {
	issuer  Fingerprint
	created time.Time
	packet  *packet.Signature
}

// InspectSignature parses a detached signature as strictly as [Keyring.Verify]
// does and gives the full fingerprint of the key that it names and the time
// that it claims, in UTC. It verifies nothing.
func InspectSignature(sig []byte) (issuer Fingerprint, created time.Time, err error) {
	s, err := parseSignature(sig)
	if err != nil {
		return "", time.Time{}, err
	}
	return s.issuer, s.created, nil
}

// parseSignature holds sig to the one form that jit signs in: one armour
// block with one packet, a signature of version 4 over binary data with SHA-256
// or better, which names its key by its full fingerprint in the signed part and
// has no end of its own. What gpg does not verify is not taken either, be it good:
// version 6, SHA-3 and the algorithms that came with RFC 9580. Everybody can check
// a store with gpg, and shall find what jit found.
func parseSignature(sig []byte) (s *dataSignature, err error) {
	defer contain(ReasonSigPackets, &err)
	switch {
	case len(sig) == 0:
		return nil, refuse(ReasonSigMissing, "the signature is empty")
	case len(sig) > MaxSignatureSize:
		return nil, refuse(ReasonSigTooLarge, "the signature has %d bytes, more than %d", len(sig), MaxSignatureSize)
	}
	raw, err := dearmor(sig, armorSignature)
	if err != nil {
		return nil, refuse(ReasonSigArmor, "the signature is not one plain armour block").because(err)
	}
	p, rest, err := nextPacket(raw)
	switch {
	case err != nil:
		return nil, refuse(ReasonSigPackets, "the signature does not parse").because(err)
	case len(rest) > 0 || p.tag != tagSignature:
		return nil, refuse(ReasonSigPackets, "the signature is not exactly one signature packet")
	case len(p.body) == 0 || p.body[0] != 4:
		return nil, refuse(ReasonSigVersion, "the signature is of another version than 4")
	}
	fields, err := splitSignature(p.body)
	switch {
	case errors.Is(err, errTrailing):
		return nil, refuse(ReasonSigExtra, "the signature holds more than a signature").because(err)
	case err != nil:
		return nil, refuse(ReasonSigPackets, "the signature does not parse").because(err)
	case fields.kind != sigBinary:
		return nil, refuse(ReasonSigType, "the signature is of type 0x%02x, not over binary data", fields.kind)
	}
	switch fields.hash {
	case 8, 9, 10: // SHA-256, SHA-384, SHA-512: RFC 9580, section 9.5
	default:
		return nil, refuse(ReasonSigHash, "the signature's hash function %d is weaker than SHA-256, or not one that gpg knows", fields.hash)
	}
	switch packet.PublicKeyAlgorithm(fields.algorithm) {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
	default:
		return nil, refuse(ReasonKeyWeak, "the signature's public-key algorithm %d is weak or unknown", fields.algorithm)
	}
	s = &dataSignature{}
	if err := s.readHashed(fields); err != nil {
		return nil, err
	}
	for _, sub := range fields.unhashed {
		// Only the issuer's short id may stand outside the signed part: old
		// versions of gpg write it there.
		if sub.kind == subEmbedded {
			return nil, refuse(ReasonSigExtra, "the signature embeds another one")
		}
		if sub.kind != subIssuer || !s.isShortIssuer(sub.body) {
			return nil, refuse(ReasonSigExtra, "the signature's unsigned part holds more than its key's id")
		}
	}
	parsed, err := p.parse()
	if err != nil {
		return nil, refuse(ReasonSigPackets, "the signature does not parse").because(err)
	}
	var ok bool
	if s.packet, ok = parsed.(*packet.Signature); !ok {
		return nil, refuse(ReasonSigPackets, "the signature is not a signature packet")
	}
	return s, nil
}

// readHashed reads the part of the signature that is itself signed.
func (s *dataSignature) readHashed(fields rawSignature) error {
	seen := make(map[byte]bool)
	for _, sub := range fields.hashed {
		if seen[sub.kind] && sub.kind != subNotation && sub.kind != subRecipient {
			return refuse(ReasonSigExtra, "the signature has subpacket %d twice", sub.kind)
		}
		seen[sub.kind] = true
		switch sub.kind {
		case subCreated:
			if len(sub.body) != 4 {
				return refuse(ReasonSigTime, "the signature's time is malformed")
			}
			s.created = time.Unix(int64(binary.BigEndian.Uint32(sub.body)), 0).UTC()
		case subFingerprint:
			if len(sub.body) != 1+20 || sub.body[0] != fields.version {
				return refuse(ReasonSigIssuer, "the signature's issuer fingerprint does not fit its version")
			}
			s.issuer = fingerprintOf(sub.body[1:])
		case subExpires:
			return refuse(ReasonSigExpires, "the signature has an end of its own")
		case subEmbedded:
			return refuse(ReasonSigExtra, "the signature embeds another one")
		case subIssuer, subPolicyURI:
		default: // a notation too: jit knows none; and gpg knows no other as critical
			if sub.critical {
				return refuse(ReasonSigCritical, "the signature has a critical subpacket %d, which jit does not know", sub.kind)
			}
		}
	}
	if s.issuer == "" {
		return refuse(ReasonSigIssuer, "the signature does not name its key by its full fingerprint in its signed part")
	}
	if s.created.IsZero() {
		return refuse(ReasonSigTime, "the signature has no time")
	}
	for _, sub := range fields.hashed {
		if sub.kind == subIssuer && !s.isShortIssuer(sub.body) {
			return refuse(ReasonSigIssuer, "the signature names two keys")
		}
	}
	return nil
}

// isShortIssuer reports whether id is the key id of the issuer: the last eight
// octets of its fingerprint.
func (s *dataSignature) isShortIssuer(id []byte) bool {
	return s.issuer != "" && fingerprintOf(id) == s.issuer[24:]
}
