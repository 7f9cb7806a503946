package server_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiwick/internal/custody"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/server"
	"example.com/bailiwick/tuf/key"
)

func turn(answer *custody.Answer) *custody.Turn {
	return &custody.Turn{Answer: answer}
}

func answerTo(proposal string) *custody.Answer {
	return &custody.Answer{Proposal: custody.ID([]byte(proposal)), Refused: &custody.Refused{Reason: custody.Stale, Message: proposal}}
}

// TestLineAnswers: a question that is open gets the proposal, and the next question brings the answer.
func TestLineAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := server.NewLine()
		if l.Ready() || l.Status().Connected {
			t.Error("ready with nobody there")
		}
		if _, err := l.Countersign(t.Context(), []byte("early")); !errors.Is(err, publish.ErrNoSigner) {
			t.Errorf("asked with nobody there: %v", err)
		}
		go func() {
			data, err := l.Turn(t.Context(), turn(nil))
			for range 3 {
				if err != nil {
					t.Errorf("the signer's question: %v", err)
					return
				}
				data, err = l.Turn(t.Context(), turn(answerTo(string(data))))
			}
		}()
		synctest.Wait()
		if !l.Ready() {
			t.Fatal("not ready with a signer there")
		}
		select {
		case <-l.Arrived():
		default:
			t.Error("nobody was told that the signer came")
		}
		for _, p := range []string{"one", "two", "three"} {
			a, err := l.Countersign(t.Context(), []byte(p))
			if err != nil || a.Refused.Message != p {
				t.Errorf("the answer to %s is %+v, %v", p, a, err)
			}
		}
		select {
		case <-l.Arrived():
			t.Error("the signer came again, and was there")
		default:
		}
		l.Close()
	})
}

// TestLineWaits: a question without a proposal ends after a while, and the signer puts the next.
func TestLineWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := server.NewLine()
		start := time.Now()
		data, err := l.Turn(t.Context(), turn(nil))
		if data != nil || err != nil || time.Since(start) < 20*time.Second || time.Since(start) > 50*time.Second {
			t.Errorf("after %s: %q, %v", time.Since(start), data, err)
		}
		if !l.Ready() {
			t.Error("the signer is about to ask again, and taken for gone")
		}
		time.Sleep(10 * time.Second)
		if l.Ready() {
			t.Error("the signer has not come back, and is taken for there")
		}
		if s := l.Status(); s.Connected || s.Since.IsZero() {
			t.Errorf("the status is %+v", s)
		}
	})
}

// TestLineLosesTheSigner: it goes away at every point; the publisher is told soon, and the same proposal reaches
// the signer that comes next.
func TestLineLosesTheSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := server.NewLine()
		// Its connection breaks while it waits: it is gone at once.
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = l.Turn(ctx, turn(nil)) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if l.Ready() {
			t.Error("ready though the connection broke")
		}
		// It takes a proposal and never answers.
		go func() { _, _ = l.Turn(t.Context(), turn(nil)) }()
		synctest.Wait()
		start := time.Now()
		if _, err := l.Countersign(t.Context(), []byte("lost")); !errors.Is(err, publish.ErrNoSigner) || time.Since(start) > time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if l.Ready() {
			t.Error("ready though the signer did not answer")
		}
		// It takes a proposal, starts anew, and is told again.
		go func() { _, _ = l.Turn(t.Context(), turn(nil)) }()
		synctest.Wait()
		go func() {
			time.Sleep(3 * time.Second)
			data, err := l.Turn(t.Context(), turn(nil))
			if err == nil {
				_, _ = l.Turn(t.Context(), turn(answerTo(string(data))))
			}
		}()
		if a, err := l.Countersign(t.Context(), []byte("again")); err != nil || a.Refused.Message != "again" {
			t.Errorf("after a restart of the signer: %+v, %v", a, err)
		}
		// An answer to something else, or a late one, is nobody's.
		if data, err := l.Turn(t.Context(), &custody.Turn{Answer: answerTo("lost"), Hello: true}); data != nil || err != nil {
			t.Errorf("a late answer: %q, %v", data, err)
		}
		l.Close()
		synctest.Wait()
		if _, err := l.Countersign(t.Context(), []byte("x")); !errors.Is(err, publish.ErrNoSigner) || l.Ready() {
			t.Errorf("a closed line: %v", err)
		}
	})
}

// TestLineHasOneSigner: the newest takes over, and the other is told.
func TestLineHasOneSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := server.NewLine()
		_, s, err := key.GenerateEd25519()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := l.Turn(t.Context(), turn(nil))
			ended <- err
		}()
		synctest.Wait()
		go func() {
			data, _ := l.Turn(t.Context(), &custody.Turn{Keys: []custody.HeldKey{{Name: "snapshot", Public: s.Public()}}})
			_, _ = l.Turn(t.Context(), turn(answerTo(string(data))))
		}()
		if err := <-ended; !errors.Is(err, server.ErrReplaced) {
			t.Errorf("the first signer is told %v", err)
		}
		if ids := l.Keys(); len(ids) != 1 || ids[0] != s.Public().ID() {
			t.Errorf("the keys are %v", ids)
		}
		if a, err := l.Countersign(t.Context(), []byte("p")); err != nil || a.Refused.Message != "p" {
			t.Errorf("%+v, %v", a, err)
		}
		l.Close()
	})
}
