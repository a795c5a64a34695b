package python

import (
	"os"
	"slices"
	"strings"
)

// misleading are the inherited variables that would give an interpreter of ours
// another's library or name, or have it look for its own in a directory that it does
// not have ("Environment variables" in Python's "Command line and environment"; the
// last one is set by the launchers of macOS).
var misleading = []string{"PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"}

// environ is the environment for a command, made from the inherited one: path goes
// before an inherited PYTHONPATH. For an isolated interpreter all of Python's variables
// are left out and none is set: its overlay does what they would do.
func (p *interpreter) environ(inherited, path []string) []string {
	if p.isolation != nil {
		return without(inherited, func(key string) bool {
			return len(key) >= 6 && sameKey(key[:6], "PYTHON") || isMisleading(key)
		})
	}
	var set []string
	if len(path) > 0 {
		if old := value(inherited, "PYTHONPATH"); old != "" {
			path = append(slices.Clone(path), old)
		}
		set = append(set, "PYTHONPATH="+strings.Join(path, string(os.PathListSeparator)))
	}
	if p.nocache {
		set = append(set, "PYTHONDONTWRITEBYTECODE=1")
	}
	if p.home != "" && !p.own {
		set = append(set, "PYTHONHOME="+p.home)
	}
	kept := without(inherited, func(key string) bool {
		return p.own && isMisleading(key) ||
			slices.ContainsFunc(set, func(s string) bool { return sameKey(nameOf(s), key) })
	})
	return append(kept, set...)
}

// isMisleading reports whether a variable is one of misleading.
func isMisleading(key string) bool {
	return slices.ContainsFunc(misleading, func(m string) bool { return sameKey(m, key) })
}

// without is a copy of env without the variables whose names drop tells.
func without(env []string, drop func(key string) bool) []string {
	kept := make([]string, 0, len(env))
	for _, s := range env {
		if key := nameOf(s); key == "" || !drop(key) {
			kept = append(kept, s)
		}
	}
	return kept
}

// value is a variable's value in env, "" if it is not there.
func value(env []string, key string) string {
	for _, s := range env {
		if name := nameOf(s); name != "" && sameKey(name, key) {
			return s[len(name)+1:]
		}
	}
	return ""
}

// nameOf is the name in "name=value", "" if there is none. It may begin with =, as those
// of Windows' current directories do.
func nameOf(s string) string {
	if i := strings.IndexByte(s[min(1, len(s)):], '='); i >= 0 {
		return s[:i+1]
	}
	return ""
}
