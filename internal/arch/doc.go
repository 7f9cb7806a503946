// Package arch holds tests about the shape of the project: which package may
// import which, which packages stay pure, and that every package and exported
// name explains itself. It contains no other code.
package arch
