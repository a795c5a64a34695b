package tree

import (
	"errors"
	"io/fs"
	"sort"
	"strings"
	"testing"

	"pyembed.invalid/runtime/internal/manifest"
)

// m makes a manifest of "d/", "f" and "l -> target".
func m(specs ...string) *manifest.Manifest {
	m := &manifest.Manifest{}
	for _, s := range specs {
		e := manifest.Entry{Name: s, Mode: 0o644}
		if dir, ok := strings.CutSuffix(s, "/"); ok {
			e = manifest.Entry{Name: dir, Mode: fs.ModeDir | 0o755}
		} else if name, target, ok := strings.Cut(s, " -> "); ok {
			e = manifest.Entry{Name: name, Mode: fs.ModeSymlink, Symlink: target}
		}
		m.Files = append(m.Files, e)
	}
	sort.Slice(m.Files, func(i, j int) bool { return m.Files[i].Name < m.Files[j].Name })
	return m
}

// copies is what the plan is where links can't be made: "d/" and "name=entry".
func copies(m *manifest.Manifest) (string, error) {
	p := &plan{names: make(map[string]bool)}
	byName := make(map[string]*manifest.Entry)
	for i := range m.Files {
		byName[m.Files[i].Name] = &m.Files[i]
	}
	if err := p.copyLinks(m, byName); err != nil {
		return "", err
	}
	var list []string
	for _, d := range p.dirs {
		list = append(list, d+"/")
	}
	for _, n := range p.files {
		list = append(list, n.name+"="+n.entry.Name)
	}
	sort.Strings(list)
	return strings.Join(list, " "), nil
}

// TestCopyLinks: where links can't be made, what they lead to is in their place.
func TestCopyLinks(t *testing.T) {
	for _, c := range []struct {
		specs []string
		want  string
	}{
		{[]string{"a", "l -> a"}, "l=a"},
		{[]string{"d/", "d/a", "d/l -> a"}, "d/l=d/a"},
		{[]string{"d/", "d/a", "e/", "e/l -> ../d/a"}, "e/l=d/a"},
		{[]string{"a", "l -> k", "k -> a"}, "k=a l=a"},
		{[]string{"d/", "d/a", "d/e/", "d/e/b", "l -> d"}, "l/ l/a=d/a l/e/ l/e/b=d/e/b"},
		{[]string{"d/", "d/a", "l -> d", "k -> l/a"}, "k=d/a l/ l/a=d/a"},
		{[]string{"d/", "d/a", "d/l -> a", "k -> d"}, "d/l=d/a k/ k/a=d/a k/l=d/a"},
	} {
		if got, err := copies(m(c.specs...)); err != nil || got != c.want {
			t.Errorf("%v: %s %v, want %s", c.specs, got, err, c.want)
		}
	}
}

// TestCopyLinksEndless: links that lead nowhere or to themselves are errors, soon.
func TestCopyLinksEndless(t *testing.T) {
	for _, specs := range [][]string{
		{"l -> a"},
		{"l -> l"},
		{"l -> k", "k -> l"},
		{"d/", "d/l -> ../d"},
		{"d/", "d/l -> ../e", "e/", "e/l -> ../d"},
		{"a/", "a/l -> ../b", "a/m -> ../b", "b/", "b/l -> ../a", "b/m -> ../a"},
	} {
		if got, err := copies(m(specs...)); !errors.Is(err, manifest.Err) {
			t.Errorf("%v: %s %v", specs, got, err)
		}
	}
}

// TestPlanOrder: parents come first, and directories that are only implied are there.
func TestPlanOrder(t *testing.T) {
	p, err := newPlan(m("a/b/c", "a.x", "a/"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.dirs, " "); got != "a a/b" {
		t.Errorf("directories are %s", got)
	}
}
