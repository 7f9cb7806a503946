// Package gotuf holds Bailiwick beside other TUF clients, unmodified: go-tuf
// finds and downloads a wheel from a Bailiwick repository, given only the root and
// the two base URLs; and go-tuf, python-tuf and our client read what each of them
// writes, and say what they think of crafted metadata. It is a module of its own so
// that go-tuf's dependencies stay out of Bailiwick's. The scripts for python-tuf are
// in ../pythontuf.
package gotuf
