package group

import (
	"os"
	"testing"
)

// TestParseStat: names don't mislead it, and what is cut short is refused.
func TestParseStat(t *testing.T) {
	const rest = " S 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 2 3"
	want := process{pid: 7, ppid: 42, created: 12345}
	for _, name := range []string{"sh", "a b", "x) R 1 (y", ")", "(", "\n"} {
		if p, ok := parseStat(7, "7 ("+name+")"+rest+"\n"); !ok || p != want {
			t.Errorf("%q: %v %v", name, p, ok)
		}
	}
	for _, bad := range []string{"", "7 (sh) S 42 7", "7 (sh) S x 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345",
		"7 (sh) S 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 x"} {
		if p, ok := parseStat(7, bad); ok {
			t.Errorf("%q: %v", bad, p)
		}
	}
}

// TestProcesses: this process is there, with its parent, and as lookup shows it.
func TestProcesses(t *testing.T) {
	self, ok := lookup(os.Getpid())
	if !ok || self.ppid != os.Getppid() || self.created == 0 {
		t.Fatalf("%v %v", self, ok)
	}
	parent, ok := lookup(os.Getppid())
	if !ok || parent.created > self.created {
		t.Errorf("the parent is %v, the child %v", parent, self)
	}
	found := 0
	for _, p := range processes() {
		if p == self {
			found++
		}
	}
	if found != 1 {
		t.Errorf("found %d times", found)
	}
}
