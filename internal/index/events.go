package index

import (
	"context"
	"fmt"

	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
)

// Events returns what happened to a project, newest first, at most 1000 lines: so that every owner
// sees what another one, or a thief of a token, has done.
func (x *Index) Events(ctx context.Context, a Actor, p pypi.Project) ([]publish.Event, error) {
	if err := x.admit(a, p); err != nil {
		return nil, err
	}
	events, err := x.records.Events(ctx, p, maxEvents)
	if err != nil {
		return nil, fmt.Errorf("reading the events of %s: %w", p, err)
	}
	return events, nil
}
