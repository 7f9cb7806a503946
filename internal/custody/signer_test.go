package custody_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/trust"
)

// absent is an index that can not be reached.
type absent struct{}

func (absent) Current(context.Context, time.Time) (*trust.Set, trust.Loader, error) {
	return nil, nil, errors.New("no route to the index")
}

// TestFailedIsNoJudgement: what is only trouble says nothing of the proposal, and nothing is signed.
func TestFailedIsNoJudgement(t *testing.T) {
	th := steal(t, upload)
	n := th.signed()
	config := custody.Config{Memory: th.memory, Repository: absent{}, Name: th.p.Repository, Keys: []key.Signer{th.held[0], th.held[1]}, Now: th.clock.now}
	lost, err := custody.NewSigner(config)
	if err != nil {
		t.Fatal(err)
	}
	if a := lost.Consider(t.Context(), th.desk.sent()); a.Refused == nil || a.Refused.Reason != custody.Failed {
		t.Errorf("without the index the answer is %+v", a)
	}
	th.memory.fail = errors.New("the disk is full")
	if a := th.desk.signer.Consider(t.Context(), th.desk.sent()); a.Refused == nil || a.Refused.Reason != custody.Failed || len(a.Signatures) > 0 {
		t.Errorf("without a memory the answer is %+v", a)
	}
	th.memory.fail = nil
	if a := th.desk.signer.Consider(t.Context(), th.desk.sent()); a.Refused != nil {
		t.Errorf("when it works again: %v", a.Refused)
	}
	if th.signed() <= n {
		t.Error("nothing was signed in the end")
	}
}

// TestSignerWithoutTheKey does not sign a part of what it is asked for.
func TestSignerWithoutTheKey(t *testing.T) {
	th := steal(t, upload)
	first, err := th.l.Metadata(t.Context(), "root", 1)
	if err != nil {
		t.Fatal(err)
	}
	half, err := custody.NewSigner(custody.Config{
		Memory: &memory{}, Repository: newFollower(th.world, first.Bytes), Name: th.p.Repository,
		Keys: []key.Signer{th.keys[policy.KeySnapshot]}, Now: th.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := half.Consider(t.Context(), th.desk.sent()); a.Refused == nil || a.Refused.Reason != custody.NoKey || len(a.Signatures) > 0 {
		t.Errorf("a signer without the registry key answers %+v", a)
	}
}

// TestSignerLimitsLives: the signer has an opinion of its own about how long its signatures are good.
func TestSignerLimitsLives(t *testing.T) {
	th := steal(t, upload)
	first, err := th.l.Metadata(t.Context(), "root", 1)
	if err != nil {
		t.Fatal(err)
	}
	lives := policy.DefaultLifetimes()
	lives.Snapshot = 24 * time.Hour
	strict, err := custody.NewSigner(custody.Config{
		Memory: &memory{}, Repository: newFollower(th.world, first.Bytes), Name: th.p.Repository, Lifetimes: lives,
		Keys: []key.Signer{th.keys[policy.KeySnapshot], th.keys[policy.KeyRegistry]}, Now: th.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := strict.Consider(t.Context(), th.desk.sent()); a.Refused == nil || a.Refused.Reason != custody.Dates {
		t.Errorf("a snapshot for a week is answered with %+v", a)
	}
	lives.Snapshot = 0
	if _, err := custody.NewSigner(custody.Config{Memory: &memory{}, Repository: absent{}, Keys: []key.Signer{th.mallory}, Lifetimes: lives, Now: th.clock.now}); err == nil {
		t.Error("a life of nothing was taken")
	}
	if _, err := custody.NewSigner(custody.Config{}); err == nil {
		t.Error("a signer of nothing was made")
	}
}
