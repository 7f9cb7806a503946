package repo

import (
	"errors"
	"fmt"

	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/cjson"
)

// canonicalSigned returns the canonical bytes of "signed" in published bytes. If they
// were published canonically, which this package always does, it
// points into them.
func canonicalSigned(published []byte) ([]byte, error) {
	r := cjson.New(published, 0)
	var signed []byte
	canonical := false
	m := r.Object()
	for r.Next(&m) {
		name := string(m.Name())
		if name != "signed" {
			r.SkipForeign()
			continue
		}
		start := r.Mark()
		r.Skip()
		signed, canonical = r.Since(start)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBase, err)
	}
	if signed == nil {
		return nil, fmt.Errorf("%w: no signed object", ErrBase)
	}
	if canonical {
		return signed, nil
	}
	return canonicalValue(signed, cjson.MaxDepth)
}

// canonicalValue returns the canonical form of raw JSON that is nested at most depth
// levels deep.
func canonicalValue(raw []byte, depth int) ([]byte, error) { return cjson.Canonical(raw, depth) }

// Levels that lie around an additional member, a custom object, and a member of a delegation.
const (
	memberLevel = 2 // envelope, signed
	customLevel = 4 // envelope, signed, targets, entry
	entryLevel  = 5 // envelope, signed, delegations, roles, entry
)

// quoted is the canonical form of a string.
func quoted(s string) []byte { return cjson.AppendString(make([]byte, 0, len(s)+2), s) }

// baseError marks an error of shape as the base's fault; what it copied was not
// what package tuf verified.
func baseError(err error) error {
	if errors.Is(err, errShape) {
		return fmt.Errorf("%w: %w", ErrBase, err)
	}
	return err
}

// checkHashes refuses an algorithm that this package can not name, which would be lost
// and with it what some client insists on, and no hash at all.
func checkHashes(h tuf.Hashes) error {
	if h.Unknown() || h.IsZero() {
		return fmt.Errorf("give its SHA-256: %w", ErrNoHash)
	}
	return nil
}
