package server

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"example.com/bailiwick/internal/index"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/sitting"
	"example.com/bailiwick/tuf/key"
)

// RotationBody asks for the signing request by which keys change.
type RotationBody struct {
	Changes []RotationChange `json:"changes"`
	By      string           `json:"by,omitempty"`
	Note    string           `json:"note,omitempty"`
}

// RotationChange is what changes of the keys of one role. Of timestamp, snapshot and registry only the role
// is said: the server makes a new key.
type RotationChange struct {
	Role      string    `json:"role"`
	Add       []HeldKey `json:"add,omitempty"`
	Remove    []string  `json:"remove,omitempty"`    // by holder, or by the first digits of the key id
	Threshold int       `json:"threshold,omitempty"` // 0: as it is
	Custody   string    `json:"custody,omitempty"`   // of an online role: where its new key is; standard or strict
}

// HeldKey is a public key, and the name of the person who holds it.
type HeldKey struct {
	Name    string `json:"name,omitempty"`
	KeyType string `json:"keytype"`
	Scheme  string `json:"scheme"`
	Public  string `json:"public"`
}

// NewHeldKey is the key of a holder as it travels.
func NewHeldKey(h sitting.Holder) HeldKey {
	return HeldKey{Name: h.Name, KeyType: h.Key.Type(), Scheme: h.Key.Scheme(), Public: h.Key.Value()}
}

const maxRotationBody = 1 << 20 // bytes

// operatorRotate draws up a change of keys.
func (s *Server) operatorRotate(r *http.Request, body io.Reader, a index.Actor) (int, any, error) {
	var in RotationBody
	if err := decodeBody(body, maxRotationBody, &in); err != nil {
		return 0, nil, err
	}
	want := index.Rotation{By: in.By, Note: in.Note}
	for _, c := range in.Changes {
		w, err := c.wish()
		if err != nil {
			return 0, nil, badForm(err, "%v", err)
		}
		want.Wishes = append(want.Wishes, w)
	}
	planned, err := s.index.Rotate(r.Context(), a, want)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // a refusal, or explained by fail
	}
	return http.StatusCreated, SittingAnswer{
		OperatorRequestAnswer: operatorAnswer(&planned.OperatorPending, s.index.Holders()), Summary: planned.Summary,
	}, nil
}

func (c *RotationChange) wish() (index.RotationWish, error) {
	w := index.RotationWish{Role: policy.KeyRole(c.Role), Remove: c.Remove, Threshold: c.Threshold, Custody: policy.Custody(c.Custody)}
	switch {
	case !slices.Contains(policy.KeyRoles(), w.Role):
		return w, fmt.Errorf("%.40q has no keys of its own", c.Role)
	case c.Threshold < 0 || len(c.Add) > sitting.MaxHolders || len(c.Remove) > sitting.MaxHolders:
		return w, fmt.Errorf("a threshold is not negative, and at most %d keys come or go in one request", sitting.MaxHolders)
	}
	for _, h := range c.Add {
		if strings.Contains(h.Public, "PRIVATE") {
			return w, fmt.Errorf("the key of %.40q is a PRIVATE key; nothing was stored; it must be taken for stolen, so make a new one and send its public half only", h.Name)
		}
		if h.Name != "" && !policy.IsHolder(h.Name) {
			return w, fmt.Errorf("%.80q can not be the name of a holder: use 1 to 64 letters, digits, and . @ _ - after the first", h.Name)
		}
		k, err := key.New(h.KeyType, h.Scheme, h.Public)
		if err != nil {
			return w, fmt.Errorf("the key of %.40q can not be used: %w", h.Name, err)
		}
		w.Add = append(w.Add, sitting.Holder{Name: h.Name, Key: k})
	}
	return w, nil
}
