// Package prompttest puts programs at a terminal: tests see what a person sees there, and type what they
// type. It needs the pseudo-terminals of Linux; elsewhere [Have] is false.
package prompttest
