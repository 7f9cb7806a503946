// Package gotuf proves that go-tuf, unmodified, finds and downloads a wheel
// from a Bailiwick repository, given only the root and the two base URLs. It is
// a module of its own so that go-tuf's dependencies stay out of Bailiwick's.
package gotuf
