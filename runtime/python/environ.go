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

// settings are the interpreter's flags and environment for a command, made from the
// inherited environment.
//
// Isolated means python -I, which ignores all PYTHON variables, the user's site
// directory and the current directory. It would ignore PYTHONPATH too, so when there
// are paths to add, the variables with the same effect are used instead of -I.
func (p *interpreter) settings(env []string) (flags, environ []string) {
	p.mu.Lock()
	path := slices.Clone(p.path)
	p.mu.Unlock()
	var set []string
	if len(path) > 0 {
		set = append(set, "PYTHONPATH="+strings.Join(path, string(os.PathListSeparator)))
	}
	if p.nocache {
		set = append(set, "PYTHONDONTWRITEBYTECODE=1")
	}
	if p.isolated {
		switch {
		case len(path) > 0:
			set = append(set, "PYTHONNOUSERSITE=1", "PYTHONSAFEPATH=1")
		case p.nocache:
			flags = []string{"-I", "-B"}
		default:
			flags = []string{"-I"}
		}
	}
	if p.home != "" && !p.own {
		set = append(set, "PYTHONHOME="+p.home)
	}
	drop := func(key string) bool {
		return p.own && slices.ContainsFunc(misleading, func(m string) bool { return sameKey(m, key) }) ||
			p.isolated && len(key) >= 6 && sameKey(key[:6], "PYTHON") ||
			slices.ContainsFunc(set, func(s string) bool { k, _, _ := strings.Cut(s, "="); return sameKey(k, key) })
	}
	for _, s := range env {
		// A name may begin with =, as those of Windows' current directories do.
		if i := strings.IndexByte(s[min(1, len(s)):], '='); i < 0 || !drop(s[:i+1]) {
			environ = append(environ, s)
		}
	}
	return flags, append(environ, set...)
}
