package tuf

import "example.com/bailiwick/tuf/cjson"

// Limits bounds what a parser accepts, so that metadata from outside can cost only
// so much memory and time. A field that is zero stands for its default; so does a
// nil *Limits. The switches at the end weaken checks for the sake of repositories
// that were published before those checks became usual.
type Limits struct {
	// RootBytes, TimestampBytes, SnapshotBytes and TargetsBytes bound the length of
	// a file of each type. Delegated roles are of type targets.
	RootBytes, TimestampBytes, SnapshotBytes, TargetsBytes int64
	// Nesting bounds how deep arrays and objects lie in each other, up to
	// cjson.MaxDepth.
	Nesting int
	// Signatures bounds the entries of "signatures" in one file.
	Signatures int
	// Keys bounds the keys that one file lists.
	Keys int
	// RoleKeys bounds the key ids of one role.
	RoleKeys int
	// RootRoles bounds the roles that a root file lists.
	RootRoles int
	// SnapshotRoles bounds the roles that a snapshot lists.
	SnapshotRoles int
	// Targets bounds the targets of one file.
	Targets int
	// TargetLength bounds the length of a target, in bytes.
	TargetLength int64
	// CustomBytes bounds the "custom" object of one target.
	CustomBytes int
	// Delegations bounds the delegations of one file, bins of succinct_roles apart.
	Delegations int
	// Patterns bounds the path patterns, or hash prefixes, of one delegation, and
	// FilePatterns those of all delegations of one file: finding who is responsible for a
	// path takes some fifty bytes of memory for each.
	Patterns, FilePatterns int
	// PatternBytes bounds the length of one path pattern.
	PatternBytes int
	// Members bounds the members of "signed", those unknown to us included.
	Members int
	// RoleNameBytes bounds the length of a role's name, up to MaxRoleName, and
	// TargetPathBytes that of a target's path, up to MaxTargetPath.
	RoleNameBytes, TargetPathBytes int

	// AnyKeyID accepts keys whose id is not the SHA-256 of their KEY object. The
	// specification (4.3) demands the comparison; a few public repositories fail it.
	// Thresholds count key material in either case.
	AnyKeyID bool
	// AnyDate accepts dates with a fraction or an offset. The specification (4.2.3)
	// allows neither; the first roots of some public repositories have them.
	AnyDate bool
}

// DefaultLimits returns the bounds that a nil *Limits stands for.
func DefaultLimits() Limits {
	return Limits{
		RootBytes:       512_000,
		TimestampBytes:  16_384,
		SnapshotBytes:   64 << 20,
		TargetsBytes:    64 << 20,
		Nesting:         32,
		Signatures:      256,
		Keys:            65_536,
		RoleKeys:        64,
		RootRoles:       32,
		SnapshotRoles:   2 << 20,
		Targets:         1 << 20,
		TargetLength:    1 << 40,
		CustomBytes:     64 << 10,
		Delegations:     1 << 17,
		Patterns:        4096,
		FilePatterns:    1 << 20,
		PatternBytes:    MaxTargetPath,
		Members:         256,
		RoleNameBytes:   MaxRoleName,
		TargetPathBytes: MaxTargetPath,
	}
}

// complete returns a copy of l in which every bound is set.
func (l *Limits) complete() Limits {
	d := DefaultLimits()
	if l == nil {
		return d
	}
	c := *l
	for _, f := range []struct{ field, fallback *int }{
		{&c.Nesting, &d.Nesting},
		{&c.Signatures, &d.Signatures},
		{&c.Keys, &d.Keys},
		{&c.RoleKeys, &d.RoleKeys},
		{&c.RootRoles, &d.RootRoles},
		{&c.SnapshotRoles, &d.SnapshotRoles},
		{&c.Targets, &d.Targets},
		{&c.CustomBytes, &d.CustomBytes},
		{&c.Delegations, &d.Delegations},
		{&c.Patterns, &d.Patterns},
		{&c.FilePatterns, &d.FilePatterns},
		{&c.PatternBytes, &d.PatternBytes},
		{&c.Members, &d.Members},
		{&c.RoleNameBytes, &d.RoleNameBytes},
		{&c.TargetPathBytes, &d.TargetPathBytes},
	} {
		if *f.field <= 0 {
			*f.field = *f.fallback
		}
	}
	for _, f := range []struct{ field, fallback *int64 }{
		{&c.RootBytes, &d.RootBytes},
		{&c.TimestampBytes, &d.TimestampBytes},
		{&c.SnapshotBytes, &d.SnapshotBytes},
		{&c.TargetsBytes, &d.TargetsBytes},
		{&c.TargetLength, &d.TargetLength},
	} {
		if *f.field <= 0 {
			*f.field = *f.fallback
		}
	}
	c.Nesting = min(c.Nesting, cjson.MaxDepth)
	c.RoleNameBytes = min(c.RoleNameBytes, MaxRoleName)
	c.TargetPathBytes = min(c.TargetPathBytes, MaxTargetPath)
	return c
}
