package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"example.com/bailiwick/bench/internal/measure"
)

// row is one workload.
type row struct {
	name     string
	workload string
	args     []string
	state    string // of a client: "empty" or "visited"
	site     string // what a client visits: "1" or "2"
	wall     bool   // the goal is about time on the clock
	slow     bool   // peers take many seconds
	alone    bool   // peers have nothing to compare
	goal     goal

	results [implementations][]measure.Result
}

// goal says by how much peers must be slower, and what must not be exceeded; zero
// means that there is no such goal.
type goal struct {
	goTUF, python float64
	mib           float64
	nanoseconds   float64
}

func table() []*row {
	return []*row{
		{name: "parse + verify targets, 10k", workload: "targets", args: []string{"targets-10000.json"}, goal: goal{goTUF: 40, python: 12}},
		{name: "parse + verify targets, 100k", workload: "targets", args: []string{"targets-100000.json"}, goal: goal{goTUF: 40, python: 12, mib: 45}},
		{name: "parse + verify targets, 10k, indented", workload: "targets", args: []string{"targets-10000-indented.json"}, goal: goal{goTUF: 20, python: 6}},
		{name: "parse + verify targets, 100k, indented", workload: "targets", args: []string{"targets-100000-indented.json"}, goal: goal{goTUF: 20, python: 6}},
		{name: "sign + serialise targets, 10k", workload: "sign", goal: goal{goTUF: 16, python: 7}},
		{name: "the same, verified before it is handed out", workload: "issue", alone: true},
		{name: "parse + verify snapshot, 16,384 roles", workload: "snapshot", args: []string{"snapshot-16384.json"}, goal: goal{goTUF: 45}},
		{name: "parse + verify snapshot, 1,000,000 roles", workload: "snapshot", args: []string{"snapshot-1000000.json"}, slow: true, goal: goal{goTUF: 90, mib: 130}},
		{name: "2,048 delegations: parse + verify", workload: "targets", args: []string{"delegations.json"}, goal: goal{goTUF: 32}},
		{name: "2,048 delegations: who is responsible", workload: "responsible", goal: goal{nanoseconds: 300}},
		{name: "2,048 delegations: parse + verify a role", workload: "role", goal: goal{goTUF: 6}},
		{name: "client, cold", workload: "client", state: "empty", site: "1", wall: true, goal: goal{goTUF: 18}},
		{name: "client, nothing new", workload: "client", state: "visited", site: "1", wall: true, goal: goal{goTUF: 18}},
		{name: "client, everything new", workload: "client", state: "visited", site: "2", wall: true, goal: goal{goTUF: 18}},
		{name: "client, nothing new, same process again", workload: "again", state: "visited", site: "1", wall: true, alone: true},
		{name: "rollback check, 1,000,000 roles", workload: "rollback", args: []string{"snapshot-1000000.json", "snapshot-1000000-next.json"}, slow: true},
	}
}

// wants reports whether an implementation is measured in a row.
func (r *row) wants(i int, all bool) bool {
	return i == ours || !r.alone && (!r.slow || all)
}

// median is the middle of one figure over all rounds.
func median(results []measure.Result, figure func(measure.Result) float64) (float64, bool) {
	if len(results) == 0 {
		return 0, false
	}
	values := make([]float64, len(results))
	for i, m := range results {
		values[i] = figure(m)
	}
	slices.Sort(values)
	return values[len(values)/2], true
}

func processor(m measure.Result) float64 { return m.CPU }
func clock(m measure.Result) float64     { return m.Wall }
func mebibytes(m measure.Result) float64 { return float64(m.PeakKiB) / 1024 }

// printTable prints all rows as a table of Markdown.
func printTable(w io.Writer, rows []*row) error {
	var b strings.Builder
	b.WriteString("| workload | bailiwick | go-tuf | python-tuf | go-tuf / bailiwick | python-tuf / bailiwick | goal | met | MiB |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---|---|---:|\n")
	for _, r := range rows {
		b.WriteString("| " + strings.Join(r.cells(), " | ") + " |\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *row) cells() []string {
	figure := processor
	if r.wall {
		figure = clock
	}
	cells := []string{r.name}
	for i := range r.results {
		cells = append(cells, r.time(i, figure))
	}
	own, _ := median(r.results[ours], figure)
	memory, _ := median(r.results[ours], mebibytes)
	goals, met := []string{}, true
	for _, g := range []struct {
		peer int
		want float64
	}{{goTUF, r.goal.goTUF}, {pythonTUF, r.goal.python}} {
		their, ok := median(r.results[g.peer], figure)
		if !ok || own == 0 {
			cells = append(cells, "")
			if g.want > 0 {
				goals = append(goals, fmt.Sprintf("≥ %.0f×", g.want))
				met = false
			}
			continue
		}
		cells = append(cells, ratio(their/own))
		if g.want > 0 {
			goals = append(goals, fmt.Sprintf("≥ %.0f×", g.want))
			met = met && their/own >= g.want
		}
	}
	if r.goal.nanoseconds > 0 {
		goals = append(goals, "≤ "+duration(r.goal.nanoseconds))
		met = met && own <= r.goal.nanoseconds
	}
	if r.goal.mib > 0 {
		goals = append(goals, fmt.Sprintf("≤ %.0f MiB", r.goal.mib))
		met = met && memory <= r.goal.mib
	}
	verdict := ""
	switch {
	case len(goals) == 0:
	case met:
		verdict = "yes"
	case r.incomplete():
		verdict = "not measured"
	default:
		verdict = "no"
	}
	return append(cells, strings.Join(goals, ", "), verdict, r.memory())
}

// incomplete reports whether a peer that a goal is about was not measured.
func (r *row) incomplete() bool {
	return r.goal.goTUF > 0 && len(r.results[goTUF]) == 0 || r.goal.python > 0 && len(r.results[pythonTUF]) == 0
}

// time is a median; where it is time on the clock, processor time stands behind it.
func (r *row) time(i int, figure func(measure.Result) float64) string {
	v, ok := median(r.results[i], figure)
	if !ok {
		return ""
	}
	text := duration(v)
	if r.wall {
		used, _ := median(r.results[i], processor)
		text += " (" + duration(used) + ")"
	}
	return text
}

func (r *row) memory() string {
	var out []string
	for i := range r.results {
		if v, ok := median(r.results[i], mebibytes); ok {
			out = append(out, fmt.Sprintf("%.0f", v))
		}
	}
	return strings.Join(out, " / ")
}

func ratio(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f×", v)
	}
	return fmt.Sprintf("%.0f×", v)
}

func duration(nanoseconds float64) string {
	for _, unit := range []struct {
		name  string
		ns    float64
		limit float64
	}{{"ns", 1, 1e3}, {"µs", 1e3, 1e6}, {"ms", 1e6, 1e9}, {"s", 1e9, 0}} {
		if nanoseconds >= unit.limit && unit.limit > 0 {
			continue
		}
		v := nanoseconds / unit.ns
		switch {
		case v < 10:
			return fmt.Sprintf("%.2f %s", v, unit.name)
		case v < 100:
			return fmt.Sprintf("%.1f %s", v, unit.name)
		default:
			return fmt.Sprintf("%.0f %s", v, unit.name)
		}
	}
	return ""
}
