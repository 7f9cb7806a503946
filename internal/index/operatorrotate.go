package index

import (
	"context"
	"fmt"

	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// RotationWish is what operators want changed of the keys of one role. Of a role whose key the server
// holds, nothing but the role is said: it gets a new key.
type RotationWish struct {
	Role      policy.KeyRole
	Add       []sitting.Holder
	Remove    []string // by holder, or by the first digits of the key id
	Threshold int      // zero: as it is
	// Custody says of an online role where its new key is: with the isolated signer (strict) or on the server. Empty: where it is now.
	Custody policy.Custody
}

// Rotation is what is asked of [Index.Rotate].
type Rotation struct {
	Wishes   []RotationWish
	By, Note string
}

// Rotate draws up the signing request by which keys change, on the newest publication, and opens it. New keys
// of the server are made at once and take over when the request is published. The refusal is Invalid if the
// keys can not be so.
func (x *Index) Rotate(ctx context.Context, a Actor, want Rotation) (PlannedSitting, error) {
	if err := x.admitOperator(a); err != nil {
		return PlannedSitting{}, err
	}
	leave, err := x.enterHall(ctx)
	if err != nil {
		return PlannedSitting{}, err
	}
	defer leave()
	state := x.publisher.Current().Sitting(ctx, x.now(), x.publisher.Lifetimes())
	held, err := state.Holders()
	if err != nil {
		return PlannedSitting{}, fmt.Errorf("reading who signs: %w", err)
	}
	var changes []sitting.Rotation
	for _, w := range want.Wishes {
		change, err := x.rotation(ctx, held, w)
		if err != nil {
			return PlannedSitting{}, err
		}
		changes = append(changes, change)
	}
	r, err := sitting.Rotate(state, sitting.Wishes{By: want.By, Note: want.Note}, changes...)
	if err != nil {
		return PlannedSitting{}, sittingError("the change of keys", err)
	}
	return x.openPlanned(ctx, a, r)
}

// rotation works out who signs for a role after a wish.
func (x *Index) rotation(ctx context.Context, held *sitting.Keyholders, w RotationWish) (sitting.Rotation, error) {
	if !w.Role.Online() {
		change, err := held.Change(w.Role, w.Add, w.Remove, w.Threshold)
		if err != nil {
			return change, sittingError("the change of keys", err)
		}
		return change, nil
	}
	if len(w.Add) > 0 || len(w.Remove) > 0 || w.Threshold > 1 {
		return sitting.Rotation{}, refuse(Invalid, "the key of %s is made by the server that holds it: nothing is added, removed or counted", w.Role)
	}
	if w.Custody == policy.CustodyStrict || w.Custody == "" && x.custody[w.Role] == policy.CustodyStrict {
		if x.signerKey == nil {
			return sitting.Rotation{}, refuse(Invalid, "this index has no isolated signer to hold the key of %s", w.Role)
		}
		k, err := x.signerKey(w.Role)
		if err != nil {
			r := refuse(Invalid, "%v", err)
			r.Err = err
			return sitting.Rotation{}, r
		}
		return sitting.Rotation{Role: w.Role, Keys: []*key.Public{k}, Threshold: 1}, nil
	}
	if x.nextKey == nil {
		return sitting.Rotation{}, refuse(Invalid, "this index can make no new key for %s", w.Role)
	}
	next, err := x.nextKey(ctx, w.Role)
	if err != nil {
		return sitting.Rotation{}, fmt.Errorf("making a new key for %s: %w", w.Role, err)
	}
	x.publisher.AddSigner(next)
	return sitting.Rotation{Role: w.Role, Keys: []*key.Public{next.Public()}, Threshold: 1}, nil
}
