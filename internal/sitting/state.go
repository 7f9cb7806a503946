package sitting

import (
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/trust"
)

// State is a verified moment of a repository, on which a request is planned.
type State struct {
	Repository [32]byte // SHA-256 of 1.root.json
	Set        *trust.Set
	Load       trust.Loader // called by several goroutines
	// Root returns a version of root as it was published, from 1 to the one of Set.
	Root      func(version int64) ([]byte, error)
	Layout    policy.Layout
	Now       time.Time
	Lifetimes policy.Lifetimes
}

// Wishes are what operators want of a request. The zero value signs the role claimed anew, with whatever bins
// it is behind on, and nothing else: the least that a sitting does.
type Wishes struct {
	// MinAge promotes every recently claimed project whose delegation says that it has been claimed for so
	// long; zero or less promotes none by age.
	MinAge time.Duration
	// Only promotes these of them and no others, whatever their age; Except leaves some out.
	Only, Except []pypi.Project
	// Promote, if it is set, has the last word on each project: on those that MinAge or Only choose, or on all
	// if neither is set. It is called by several goroutines.
	Promote func(p pypi.Project, since time.Time, keys tuf.Authority) bool
	// Park are claimed projects that get no more releases: see [policy.Park].
	Park []pypi.Project
	// Rekeys are changes of keys of claimed projects, complete but for the offline key.
	Rekeys []*ceremony.Request
	// Recoveries are changes of keys that the new keys have signed and the old ones have not. They have to
	// have been announced; that is for who publishes them to see to.
	Recoveries []*ceremony.Request
	// Renew signs anew what would expire before the next sitting: claimed bins, unclaimed, and parked projects
	// that expire within 45 days, or within half of a shorter life. Root and targets have requests of their
	// own: see Roles.
	Renew bool
	// All signs everything but root anew, due or not.
	All bool
	// Roles are signed anew, due or not: offline roles, and no others. With nothing else wanted, the request
	// is about these alone.
	Roles []tuf.RoleName
	// By and Note go into the request; Life is how long it is good for, zero for 30 days.
	By, Note string
	Life     time.Duration
	// Notes says what the index knows of a project that changes hands; it may be nil.
	Notes func(p pypi.Project) Note
}
