// Package publish turns accepted changes into publications: numbered, atomic changes of a TUF
// repository, each verified with the client's own workflow before it is committed.
package publish
