package index

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/publish"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// A signing request is made on certain versions, and versions only rise: once another publication has made a newer one, the
// request can never be published. So that nobody has to be told to give up what is lost, the index closes it.

// overtakenBase finds a role of which another version than the one given is the newest: the first by name.
func overtakenBase(set *trust.Set, bases map[tuf.RoleName]int64) (role tuf.RoleName, newest int64, stale bool) {
	for name, base := range bases {
		version := int64(0)
		if name == tuf.RoleRoot {
			version = set.Root().Version()
		} else if meta, ok := set.Snapshot().Lookup(name); ok {
			version = meta.Version
		}
		if version != base && (!stale || name < role) {
			role, newest, stale = name, version, true
		}
	}
	return role, newest, stale
}

// overtakenText says which publication was quicker; empty if none was.
func overtakenText(set *trust.Set, bases map[tuf.RoleName]int64) string {
	role, newest, stale := overtakenBase(set, bases)
	if !stale {
		return ""
	}
	return fmt.Sprintf("it is based on version %d of %s, and the newest is %d", bases[role], role, newest)
}

// closeOvertaken closes the open requests of operators that a publication has overtaken, whoever opened them. What fails is met
// again, and is listed as stale until then.
func (x *Index) closeOvertaken(ctx context.Context) {
	open, err := x.records.OperatorRequests(ctx, maxOperatorRequests, RequestOpen)
	if err != nil {
		return
	}
	for i := range open {
		var d digest
		if json.Unmarshal(open[i].Summary, &d) != nil {
			continue
		}
		if d.Overtaken = overtakenText(x.publisher.Current().Set(), d.Bases); d.Overtaken == "" {
			continue
		}
		// If this is the very request that was just published, it is not open any more, and both say so.
		if summary, err := json.Marshal(d); err == nil && x.records.SignOperatorRequest(ctx, open[i].ID, nil, summary) == nil {
			_ = x.records.AbortOperatorRequest(ctx, open[i].ID, x.now().UTC().Truncate(time.Second))
		}
	}
}

// closeLost closes the requests for other keys of a project that lost against the one that was published. Requests to
// release stay: whoever made one wants to hear that it is stale, and to make it anew. What fails is listed as stale.
func (x *Index) closeLost(ctx context.Context, p pypi.Project, token string) {
	stored, err := x.records.Requests(ctx, p)
	if err != nil {
		return
	}
	view := x.publisher.Current()
	for _, s := range stored {
		r, err := restore(s)
		if err != nil || r.Kind != ceremony.Rekey && r.Kind != ceremony.Recover {
			continue
		}
		why := overtakenText(view.Set(), r.Bases)
		if why == "" {
			continue
		}
		_ = x.records.CloseRequest(ctx, s.ID, publish.Event{
			Project: p, Kind: publish.EventOvertaken, Time: x.now().UTC().Truncate(time.Second), Token: token, Request: s.ID,
			Text: "other keys were published first: " + why,
		})
	}
}
