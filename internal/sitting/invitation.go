package sitting

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
	"example.com/bailiwick/tuf/key"
)

// Bounds of an invitation and of its acceptances.
const (
	MaxInvitation     = 64 << 10            // bytes of either, encoded
	MaxHolders        = 20                  // people in one invitation
	MaxInvitationLife = 60 * 24 * time.Hour // from creation to expiry

	maxInvitedNote   = 1000 // bytes
	maxInvitedBy     = 200  // bytes
	maxInvitedSig    = 2048 // bytes of a signature
	invitationDepth  = 8
	invitationFormat = 1
	clockLead        = 10 * time.Minute // by which the clock of another machine may be ahead
)

// Invitation asks people to make a key each, for one of the offline roles of a repository, and to send
// its public half. Whoever prepares the repository signs it; everyone who accepts signs it with the new
// key. Make one by filling its fields and calling [Invitation.Sign], or with [DecodeInvitation], which
// verifies it.
type Invitation struct {
	// Repository is the SHA-256 of 1.root.json; all zero for a repository that is being created.
	Repository [32]byte
	// Role is one of the roles whose keys are kept offline.
	Role policy.KeyRole
	// Threshold is how many of the role's keys will have to sign.
	Threshold int
	// Holders are the names of those who are asked. They end up in public metadata, beside the keys.
	Holders []string
	// Created and Expires are UTC, in whole seconds, at most MaxInvitationLife apart.
	Created, Expires time.Time
	// Nonce tells two invitations apart that say the same.
	Nonce [16]byte
	// By and Note are for people, and not verified.
	By, Note string
	// Inviter is the key that signed the invitation. Compare its fingerprint with that which the one who
	// invites reads out: see [Fingerprint].
	Inviter *key.Public

	signature []byte
}

// Acceptance is the answer of one person to an [Invitation]: a new key, which signed both. Make one
// with [Accept] or [DecodeAcceptance], which verify it.
type Acceptance struct {
	Invitation [32]byte // its Digest
	Holder     string
	Key        *key.Public
	Accepted   time.Time // UTC, whole seconds

	signature []byte
}

// Holder is somebody whose key an invitation brought.
type Holder struct {
	Name string
	Key  *key.Public
}

// Fingerprint is what people read to each other to compare keys: the first half of the key id, in
// groups of four.
func Fingerprint(k *key.Public) string { return Spoken(string(k.ID()[:32])) }

// Spoken breaks a hexadecimal text into groups of four, for people who compare it by voice.
func Spoken(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text[i:min(i+4, len(text))])
	}
	return b.String()
}

// Sign makes the signer the one who invites. The error is a *Refused if a field can not be, and the
// signer's otherwise.
func (i *Invitation) Sign(ctx context.Context, s key.Signer) error {
	i.Inviter = s.Public()
	if err := i.check(); err != nil {
		return err
	}
	sig, err := s.Sign(ctx, i.message())
	if err != nil {
		return err
	}
	i.signature = sig
	return i.verify()
}

// Digest names the invitation, with everything it says and who signed it: what acceptances are bound to.
func (i *Invitation) Digest() [32]byte { return sha256.Sum256(i.append(nil, true)) }

// ID is the short name of the invitation: the first 16 digits of its digest.
func (i *Invitation) ID() string {
	sum := i.Digest()
	return hex.EncodeToString(sum[:8])
}

// First reports whether the invitation is to a repository that does not exist yet.
func (i *Invitation) First() bool { return i.Repository == [32]byte{} }

// HolderNamed returns whom a person means who accepts: the name as it is, or, if it is empty, the only
// one who is invited. The error is a *Refused that lists the names.
func (i *Invitation) HolderNamed(name string) (string, error) {
	if name == "" && len(i.Holders) == 1 {
		return i.Holders[0], nil
	}
	if slices.Contains(i.Holders, name) {
		return name, nil
	}
	who := strings.Join(i.Holders, ", ")
	if name == "" {
		return "", refuse(Malformed, i.role(), "the invitation is to %s: say which of them you are with --as", who)
	}
	return "", refuse(Outside, i.role(), "%.80q is not invited; the invitation is to %s", name, who)
}

// Encode returns the signed invitation as one line of JSON.
func (i *Invitation) Encode() ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	if err := i.verify(); err != nil {
		return nil, err
	}
	return append(i.append(nil, true), '\n'), nil
}

func (i *Invitation) role() tuf.RoleName { return tuf.RoleName(i.Role) }

// message is what the one who invites signs. It can not be mistaken for metadata, which has a "_type".
func (i *Invitation) message() []byte { return i.append(nil, false) }

func (i *Invitation) append(b []byte, signature bool) []byte {
	b = append(b, `{"bailiwick-invitation":`...)
	b = cjson.AppendInt(b, invitationFormat)
	b = appendText(b, `,"by":`, i.By)
	b = appendText(b, `,"created":`, tuf.FormatTime(i.Created))
	b = appendText(b, `,"expires":`, tuf.FormatTime(i.Expires))
	b = append(b, `,"holders":[`...)
	for n, name := range i.Holders {
		if n > 0 {
			b = append(b, ',')
		}
		b = cjson.AppendString(b, name)
	}
	b = append(b, `],"inviter":`...)
	b = cjson.AppendWire(b, i.Inviter.AppendCanonical(nil))
	b = appendText(b, `,"nonce":`, hex.EncodeToString(i.Nonce[:]))
	b = appendText(b, `,"note":`, i.Note)
	b = appendText(b, `,"repository":`, hex.EncodeToString(i.Repository[:]))
	b = appendText(b, `,"role":`, string(i.Role))
	if signature {
		b = appendText(b, `,"signature":`, hex.EncodeToString(i.signature))
	}
	b = append(b, `,"threshold":`...)
	return append(cjson.AppendInt(b, int64(i.Threshold)), '}')
}

func appendText(b []byte, name, value string) []byte {
	return cjson.AppendWire(append(b, name...), cjson.AppendString(nil, value))
}

// check refuses what an invitation can not say.
func (i *Invitation) check() error {
	online := i.Role.Online() || !slices.Contains(policy.KeyRoles(), i.Role)
	switch {
	case online:
		return refuse(Outside, i.role(), "%.40q is no role whose keys people hold: it is root, targets, claimed or unclaimed", i.Role)
	case i.Inviter == nil:
		return refuse(Malformed, i.role(), "the invitation does not say whose it is: it has no inviter")
	case len(i.Holders) == 0 || len(i.Holders) > MaxHolders:
		return refuse(Malformed, i.role(), "the invitation is to %d people; 1 to %d can be asked in one", len(i.Holders), MaxHolders)
	case i.Threshold < 1 || i.Threshold > MaxHolders:
		return refuse(Malformed, i.role(), "a threshold of %d can not be; choose 1 to the number of keys", i.Threshold)
	case i.First() && i.Threshold > len(i.Holders):
		return refuse(Malformed, i.role(), "a threshold of %d with %d people can never be reached; choose 1 to %d", i.Threshold, len(i.Holders), len(i.Holders))
	case !plain(i.Note, maxInvitedNote) || !plain(i.By, maxInvitedBy):
		return refuse(Malformed, i.role(), "the note has at most %d bytes and the name of the author at most %d, without control characters", maxInvitedNote, maxInvitedBy)
	case !i.Expires.After(i.Created) || i.Expires.Sub(i.Created) > MaxInvitationLife:
		return refuse(Dates, i.role(), "the invitation is to be good from %s to %s; at most %d days are possible", tuf.FormatTime(i.Created), tuf.FormatTime(i.Expires), MaxInvitationLife/(24*time.Hour))
	}
	for n, name := range i.Holders {
		if !policy.IsHolder(name) {
			return refuse(Malformed, i.role(), "%.80q can not be the name of a holder: use 1 to 64 letters, digits, and . @ _ - after the first", name)
		}
		if slices.Contains(i.Holders[:n], name) {
			return refuse(Malformed, i.role(), "%s is invited twice: everyone holds one key", name)
		}
	}
	return nil
}

func (i *Invitation) verify() error {
	if !i.Inviter.Verify(i.message(), i.signature) {
		return refuse(BadSignature, i.role(), "the invitation is not as the key %s signed it: it was changed on the way, so ask for it again", Fingerprint(i.Inviter))
	}
	return nil
}

// DecodeInvitation reads an invitation strictly and verifies its signature. Who the key belongs to is
// for people to find out. The error is a *Refused.
func DecodeInvitation(data []byte) (*Invitation, error) {
	i := &Invitation{}
	r := newFileReader("an invitation", data)
	r.members(map[string]func(){
		"bailiwick-invitation": func() { r.format() },
		"by":                   func() { i.By = r.text() },
		"created":              func() { i.Created = r.time() },
		"expires":              func() { i.Expires = r.time() },
		"holders":              func() { i.Holders = r.texts(MaxHolders) },
		"inviter":              func() { i.Inviter = r.key() },
		"nonce":                func() { r.hex(i.Nonce[:]) },
		"note":                 func() { i.Note = r.text() },
		"repository":           func() { r.hex(i.Repository[:]) },
		"role":                 func() { i.Role = policy.KeyRole(r.text()) },
		"signature":            func() { i.signature = r.signature() },
		"threshold":            func() { i.Threshold = r.small() },
	})
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := i.check(); err != nil {
		return nil, err
	}
	if err := i.verify(); err != nil {
		return nil, err
	}
	return i, r.same(i.append(nil, true))
}

// Accept answers an invitation with a new key. Nobody but the holder of the key can; the signature
// covers the whole invitation, the holder's name and the key itself. The error is a *Refused, or the
// signer's.
func Accept(ctx context.Context, i *Invitation, holder string, s key.Signer, now time.Time) (*Acceptance, error) {
	holder, err := i.HolderNamed(holder)
	if err != nil {
		return nil, err
	}
	a := &Acceptance{Invitation: i.Digest(), Holder: holder, Key: s.Public(), Accepted: now.UTC().Truncate(time.Second)}
	if err := a.answers(i, now); err != nil {
		return nil, err
	}
	if a.signature, err = s.Sign(ctx, a.message()); err != nil {
		return nil, err
	}
	return a, a.verify()
}

func (a *Acceptance) message() []byte { return a.append(nil, false) }

func (a *Acceptance) append(b []byte, signature bool) []byte {
	b = append(b, `{"accepted":`...)
	b = appendText(b, "", tuf.FormatTime(a.Accepted))
	b = append(b, `,"bailiwick-acceptance":`...)
	b = cjson.AppendInt(b, invitationFormat)
	b = appendText(b, `,"holder":`, a.Holder)
	b = appendText(b, `,"invitation":`, hex.EncodeToString(a.Invitation[:]))
	b = cjson.AppendWire(append(b, `,"key":`...), a.Key.AppendCanonical(nil))
	if signature {
		b = appendText(b, `,"signature":`, hex.EncodeToString(a.signature))
	}
	return append(b, '}')
}

// Encode returns the acceptance as one line of JSON.
func (a *Acceptance) Encode() []byte { return append(a.append(nil, true), '\n') }

func (a *Acceptance) verify() error {
	if !a.Key.Verify(a.message(), a.signature) {
		return refuse(BadSignature, "", "the acceptance of %s is not as its key signed it: it was changed on the way, or made by somebody who does not have the key; ask for it again", a.Holder)
	}
	return nil
}

// DecodeAcceptance reads an acceptance strictly and verifies its signature. The error is a *Refused.
func DecodeAcceptance(data []byte) (*Acceptance, error) {
	a := &Acceptance{}
	r := newFileReader("an acceptance", data)
	r.members(map[string]func(){
		"accepted":             func() { a.Accepted = r.time() },
		"bailiwick-acceptance": func() { r.format() },
		"holder":               func() { a.Holder = r.text() },
		"invitation":           func() { r.hex(a.Invitation[:]) },
		"key":                  func() { a.Key = r.key() },
		"signature":            func() { a.signature = r.signature() },
	})
	if err := r.end(); err != nil {
		return nil, err
	}
	if !policy.IsHolder(a.Holder) {
		return nil, refuse(Malformed, "", "%.80q can not be the name of a holder", a.Holder)
	}
	if err := a.verify(); err != nil {
		return nil, err
	}
	return a, r.same(a.append(nil, true))
}

// answers checks that the acceptance is one of this invitation, and in time.
func (a *Acceptance) answers(i *Invitation, now time.Time) error {
	switch {
	case a.Invitation != i.Digest():
		return refuse(Foreign, i.role(), "the acceptance of %s answers the invitation %x and not this one, %s: ask for one that answers this", a.Holder, a.Invitation[:8], i.ID())
	case !slices.Contains(i.Holders, a.Holder):
		return refuse(Outside, i.role(), "%s has accepted and is not invited; the invitation is to %s", a.Holder, strings.Join(i.Holders, ", "))
	case now.Before(i.Created.Add(-clockLead)):
		return refuse(Dates, i.role(), "the invitation was made at %s, and the clock here shows %s: set the clock right", tuf.FormatTime(i.Created), tuf.FormatTime(now))
	case now.After(i.Expires):
		return refuse(Expired, i.role(), "the invitation was good until %s: invite again", tuf.FormatTime(i.Expires))
	case a.Accepted.Before(i.Created.Add(-clockLead)) || a.Accepted.After(i.Expires) || a.Accepted.After(now.Add(clockLead)):
		return refuse(Dates, i.role(), "%s accepted at %s, which is not between %s, when the invitation was made, and now; set the clocks right and accept again", a.Holder, tuf.FormatTime(a.Accepted), tuf.FormatTime(i.Created))
	}
	return nil
}

// Enrol takes what the acceptances of one invitation brought: the holders in the order of the
// invitation. Not everyone need have accepted; who is missing is for the caller. used are keys that the repository has or had for anything, by
// fingerprint, with a word for what: nobody may bring one of those. It is not changed. The error is a *Refused.
func Enrol(i *Invitation, accepted []*Acceptance, used map[[32]byte]string, now time.Time) ([]Holder, error) {
	byName := make(map[string]*Acceptance, len(accepted))
	byKey := make(map[[32]byte]string, len(accepted))
	for _, a := range accepted {
		if err := a.answers(i, now); err != nil {
			return nil, err
		}
		material := a.Key.Fingerprint()
		if _, twice := byName[a.Holder]; twice {
			return nil, refuse(Malformed, i.role(), "there are two acceptances of %s: everyone holds one key, so find out which one is theirs", a.Holder)
		}
		if other, taken := byKey[material]; taken {
			return nil, refuse(Key, i.role(), "%s and %s accepted with the same key, %s: everyone makes their own", other, a.Holder, Fingerprint(a.Key))
		}
		if what, taken := used[material]; taken {
			return nil, refuse(Key, i.role(), "the key of %s, %s, is used in this repository already, for %s: make a new one with bailiwick-sign new-key and accept with that", a.Holder, Fingerprint(a.Key), what)
		}
		byName[a.Holder], byKey[material] = a, a.Holder
	}
	var holders []Holder
	for _, name := range i.Holders {
		if a := byName[name]; a != nil {
			holders = append(holders, Holder{Name: name, Key: a.Key})
		}
	}
	return holders, nil
}
