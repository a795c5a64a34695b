package group

import (
	"os"
	"strconv"
	"strings"
)

// processes are all that /proc shows.
func processes() []process {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var list []process
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := lookup(pid); ok {
				list = append(list, p)
			}
		}
	}
	return list
}

// lookup is the process with this id.
func lookup(pid int) (process, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	return parseStat(pid, string(stat))
}

// parseStat reads the ppid and the start, in clock ticks since boot, from a line of
// proc_pid_stat(5): fields 4 and 22, counted from 1. The second is the name in
// parentheses, in which anything may be.
func parseStat(pid int, stat string) (process, bool) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return process{}, false
	}
	ppid, err := strconv.Atoi(fields[1])
	created, err2 := strconv.ParseUint(fields[19], 10, 64)
	return process{pid: pid, ppid: ppid, created: created}, err == nil && err2 == nil
}
