package group

// A process is one of the system's.
type process struct {
	pid, ppid int
	created   uint64 // when it started, in the system's unit
}

// endAll takes root's descendants, parents before their children, and looks for more
// until there are none: root and who was taken can't start processes any more. take
// reports whether it could.
func endAll(root process, list func() []process, take func(process) bool) {
	taken := []process{root}
	for before := 0; before < len(taken); {
		before = len(taken)
		for _, p := range descendants(list(), taken) {
			if take(p) {
				taken = append(taken, p)
			}
		}
	}
}

// descendants are those in list who come from one of the roots and are none of them,
// parents before their children. The id of a parent that has ended may be another's
// by now, which is then younger than the child.
func descendants(list, roots []process) []process {
	children := map[int][]process{}
	for _, p := range list {
		children[p.ppid] = append(children[p.ppid], p)
	}
	seen := map[int]bool{}
	for _, p := range roots {
		seen[p.pid] = true
	}
	found := append([]process(nil), roots...)
	for i := 0; i < len(found); i++ {
		for _, p := range children[found[i].pid] {
			if !seen[p.pid] && p.created >= found[i].created {
				seen[p.pid] = true
				found = append(found, p)
			}
		}
	}
	return found[len(roots):]
}
