//go:build !race

package rehearsal_test

const underRace = false
