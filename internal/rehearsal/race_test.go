//go:build race

package rehearsal_test

// underRace: with the race detector a row takes half a minute, so that it sees one of each custody. All rows run the same commands.
const underRace = true
