package group

import (
	"reflect"
	"testing"
)

// TestDescendants: it follows ids that are the parents' and no others.
func TestDescendants(t *testing.T) {
	list := []process{
		{pid: 0, ppid: 0},                // Windows' idle process is its own parent
		{pid: 13, ppid: 12, created: 60}, // children may be listed first
		{pid: 1, ppid: 0, created: 1},
		{pid: 10, ppid: 1, created: 50},
		{pid: 11, ppid: 10, created: 50},
		{pid: 12, ppid: 10, created: 55},
		{pid: 14, ppid: 10, created: 49}, // its parent, an earlier 10, has ended
		{pid: 15, ppid: 14, created: 70},
		{pid: 20, ppid: 1, created: 80},
	}
	root, eleven, twelve, thirteen := list[3], list[4], list[5], list[1]
	for _, c := range []struct {
		name        string
		roots, want []process
	}{
		{"tree", []process{root}, []process{eleven, twelve, thirteen}},
		{"leaf", []process{thirteen}, []process{}},
		{"roots are not found again", []process{root, twelve}, []process{eleven, thirteen}},
		{"own parent", []process{list[0]}, []process{list[2], root, list[8], eleven, twelve, thirteen}},
		{"ended", []process{{pid: 12, created: 56}}, []process{thirteen}},
		{"id of another", []process{{pid: 12, created: 61}}, []process{}},
	} {
		if got := descendants(list, c.roots); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestEndAll: it looks again while there are new ones, and who can't be taken does not
// keep it.
func TestEndAll(t *testing.T) {
	refused := process{pid: 4, ppid: 2, created: 4}
	lists := [][]process{
		{{pid: 2, ppid: 1, created: 2}, refused},
		{{pid: 2, ppid: 1, created: 2}, {pid: 3, ppid: 2, created: 3}, refused},
		{{pid: 3, ppid: 2, created: 3}, {pid: 5, ppid: 3, created: 5}, refused, {pid: 6, ppid: 4, created: 6}},
		{{pid: 9, ppid: 8, created: 9}, refused},
	}
	looked := 0
	list := func() []process {
		looked++
		return lists[looked-1]
	}
	var taken []int
	endAll(process{pid: 1, created: 1}, list, func(p process) bool {
		if p == refused {
			return false
		}
		taken = append(taken, p.pid)
		return true
	})
	if want := []int{2, 3, 6, 5}; !reflect.DeepEqual(taken, want) && !reflect.DeepEqual(taken, []int{2, 3, 5, 6}) {
		t.Errorf("took %v, want %v", taken, want)
	}
	if looked != len(lists) {
		t.Errorf("looked %d times", looked)
	}
}
