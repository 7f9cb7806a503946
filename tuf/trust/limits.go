package trust

import "example.com/bailiwick/tuf"

// Limits bound what an update or a search accepts. A field that is zero or
// negative takes its default. The limits of stock clients are lower in places
// (2 MB of snapshot, 5 MB of targets, 32 delegations): what a repository
// publishes should stay below those.
type Limits struct {
	Metadata    tuf.Limits // bounds of single metadata files, their lengths included
	Roots       int64      // root versions followed in one update; default 256
	Roles       int        // delegated roles visited in one search; default 32
	SearchBytes int64      // bytes of delegated roles read in one search; default 128 MiB
	SearchSteps int64      // of matching paths with patterns in one search, by tuf.Delegations.Effort; default 1<<30
}

// DefaultLimits returns the limits in force where nothing else is asked for.
func DefaultLimits() Limits {
	return Limits{Metadata: tuf.DefaultLimits(), Roots: 256, Roles: 32, SearchBytes: 128 << 20, SearchSteps: 1 << 30}
}

// orDefault fills what is not set, as far as this package reads it.
func (l *Limits) orDefault() Limits {
	std := DefaultLimits()
	if l == nil {
		return std
	}
	out := *l
	for _, f := range []struct {
		have *int64
		std  int64
	}{
		{&out.Metadata.RootBytes, std.Metadata.RootBytes},
		{&out.Metadata.TimestampBytes, std.Metadata.TimestampBytes},
		{&out.Metadata.SnapshotBytes, std.Metadata.SnapshotBytes},
		{&out.Metadata.TargetsBytes, std.Metadata.TargetsBytes},
		{&out.Roots, std.Roots},
		{&out.SearchBytes, std.SearchBytes},
		{&out.SearchSteps, std.SearchSteps},
	} {
		if *f.have <= 0 {
			*f.have = f.std
		}
	}
	if out.Roles <= 0 {
		out.Roles = std.Roles
	}
	return out
}
