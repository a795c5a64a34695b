package python

import (
	"fmt"
	"strings"

	"pyembed.invalid/runtime/internal/manifest"
	"pyembed.invalid/runtime/internal/tree"
)

// checkLine fails if the bundle has not the wanted Python line.
func checkLine(b *tree.Bundle, want string) error {
	if want == "" || lineOfVersion(want) != want {
		return fmt.Errorf("%w: WithPythonLine wants a line such as 3.14, not %q", ErrPythonLine, want)
	}
	have, err := lineOf(b)
	if err != nil {
		return err
	}
	if have == "" {
		return fmt.Errorf("%w: want %s, but the bundle does not tell which it has", ErrPythonLine, want)
	}
	if have != want {
		return fmt.Errorf("%w: the bundle has Python %s, the program expects %s", ErrPythonLine, have, want)
	}
	return nil
}

// lineOf is the bundle's Python line: from its origin, or else from the names that
// CPython gives its library; "" if neither tells.
func lineOf(b *tree.Bundle) (string, error) {
	if origin := manifest.ReadOrigin(b.FS); origin != nil && origin.Python != "" {
		return lineOfVersion(origin.Python), nil
	}
	m, err := b.Manifest()
	if err != nil {
		return "", err
	}
	if m.Origin != nil && m.Origin.Python != "" {
		return lineOfVersion(m.Origin.Python), nil
	}
	for i := range m.Files {
		if line := lineOfName(m.Files[i].Name); line != "" {
			return line, nil
		}
	}
	return "", nil
}

// lineOfVersion is the 3.14 of 3.14, 3.14.9 or 3.14t; "" for anything else.
func lineOfVersion(version string) string {
	major, rest, ok := strings.Cut(version, ".")
	minor := leadingDigits(rest)
	if !ok || major == "" || minor == "" || leadingDigits(major) != major {
		return ""
	}
	return major + "." + minor
}

// lineOfName is the line in lib/python3.14, with what is below it, and in
// python314.dll; "" for other names, and for python3.dll, which all lines have.
func lineOfName(name string) string {
	if rest, ok := strings.CutPrefix(name, "lib/python"); ok {
		version, _, _ := strings.Cut(rest, "/")
		return lineOfVersion(version)
	}
	name = strings.ToLower(name)
	digits, isDLL := strings.CutSuffix(strings.TrimPrefix(name, "python"), ".dll")
	digits = strings.TrimSuffix(digits, "t")
	if !isDLL || !strings.HasPrefix(name, "python") || len(digits) < 2 || leadingDigits(digits) != digits {
		return ""
	}
	return digits[:1] + "." + digits[1:]
}

// leadingDigits is the ASCII digits that s starts with.
func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
