// Package policy is the trust topology of Bailiwick: which roles exist, who
// signs them and for how long, where a file lies, what is said about it, and how
// much a user may make of the chain that vouches for it. It follows
// section "Trust topology" of docs/architecture.md, PEP 458 and PEP 480.
//
//	root
//	 └─ targets
//	     └─ claimed
//	         └─ claimed-3f
//	             ├─ project.flask
//	             └─ unclaimed              last, always
//	                 └─ unclaimed-3f
//	                     └─ project.oldlib
//
// Invariants:
//
//   - A file is the target BIN/PROJECT/FILENAME. The bin is the first hex digits of
//     the SHA-256 of the normalised project name, so a project lies
//     in one bin of each tree, and its path follows from its name alone.
//   - Files are listed in project roles and nowhere else. A project has one role,
//     project.NAME, in whichever tree it is delegated; a normalised name holds no dot,
//     so no other role can have that name.
//   - Every delegation is terminating, and a claimed bin delegates to unclaimed after all its
//     projects, for its own paths. So a project that is delegated in the claimed tree is never looked
//     for in the other, and a file that is served in the place of another leads
//     nowhere (docs/decisions/0013).
//   - targets, claimed and unclaimed have keys of their own.
//   - What can not be classified gets the lowest assurance.
//
// The package is pure: no file, socket, clock or logger. All values are immutable
// and safe for concurrent use.
package policy
