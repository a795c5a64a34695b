package tree

import (
	"fmt"
	"path"
	"sort"
	"strings"

	"pyembed.invalid/runtime/internal/manifest"
)

// A plan is what must be on disk: directories with parents first, then files, then
// links, so that nothing is ever written through a link.
type plan struct {
	dirs  []string
	files []node
	links []node
	names map[string]bool
}

// A node is a file or link to be written at name. Where links can't be made, a
// link becomes a file node with its target's entry.
type node struct {
	name  string
	entry *manifest.Entry
}

// newPlan lays out the manifest for this system.
func newPlan(m *manifest.Manifest) (*plan, error) {
	p := &plan{names: make(map[string]bool, len(m.Files))}
	byName := make(map[string]*manifest.Entry, len(m.Files))
	for i := range m.Files {
		e := &m.Files[i]
		byName[e.Name] = e
		p.addParents(e.Name)
		switch e.Kind() {
		case manifest.Dir:
			p.addDir(e.Name)
		case manifest.File:
			p.add(&p.files, e.Name, e)
		case manifest.Link:
			if realLinks {
				p.add(&p.links, e.Name, e)
			}
		}
	}
	if !realLinks {
		if err := p.copyLinks(m, byName); err != nil {
			return nil, err
		}
	}
	sort.Strings(p.dirs)
	return p, nil
}

// add appends a file or link.
func (p *plan) add(to *[]node, name string, e *manifest.Entry) {
	p.names[name] = true
	*to = append(*to, node{name: name, entry: e})
}

// addDir appends a directory once.
func (p *plan) addDir(name string) {
	if !p.names[name] {
		p.names[name] = true
		p.dirs = append(p.dirs, name)
	}
}

// addParents adds the directories that a manifest implies without listing them.
func (p *plan) addParents(name string) {
	for i := range len(name) {
		if name[i] == '/' {
			p.addDir(name[:i])
		}
	}
}

// maxLinks bounds how many links one path may lead through, as the kernel does.
const maxLinks = 40

// maxCopies bounds the nodes that links can multiply into.
const maxCopies = 1 << 16

// copyLinks puts what links lead to in their place.
func (p *plan) copyLinks(m *manifest.Manifest, byName map[string]*manifest.Entry) error {
	for i := range m.Files {
		if e := &m.Files[i]; e.Kind() == manifest.Link {
			if err := p.copyLink(m, byName, e.Name, e, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyLink puts at name what the link leads to: a file, or all of a directory.
func (p *plan) copyLink(m *manifest.Manifest, byName map[string]*manifest.Entry, name string, link *manifest.Entry, depth int) error {
	if depth > maxLinks || len(p.names) > maxCopies {
		return fmt.Errorf("%w: link %q leads through too many links", manifest.Err, link.Name)
	}
	target, err := resolve(byName, path.Join(path.Dir(link.Name), link.Symlink))
	if err != nil {
		return fmt.Errorf("%w: link %q: %w", manifest.Err, link.Name, err)
	}
	if e := byName[target]; e != nil && e.Kind() == manifest.File {
		p.add(&p.files, name, e)
		return nil
	}
	if strings.HasPrefix(link.Name+"/", target+"/") {
		return fmt.Errorf("%w: link %q leads to a directory that holds it", manifest.Err, link.Name)
	}
	p.addDir(name)
	for i := range m.Files {
		e := &m.Files[i]
		below, ok := strings.CutPrefix(e.Name, target+"/")
		if !ok {
			continue
		}
		at := name + "/" + below
		p.addParents(at)
		switch e.Kind() {
		case manifest.Dir:
			p.addDir(at)
		case manifest.File:
			p.add(&p.files, at, e)
		case manifest.Link:
			if err := p.copyLink(m, byName, at, e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve follows links in every element of name, which is clean and relative,
// until it names a file or a directory of the manifest.
func resolve(byName map[string]*manifest.Entry, name string) (string, error) {
	for range maxLinks {
		next, followed := name, false
		for i := 0; i <= len(name) && !followed; i++ {
			if i < len(name) && name[i] != '/' {
				continue
			}
			if e := byName[name[:i]]; e != nil && e.Kind() == manifest.Link {
				next, followed = path.Join(path.Dir(e.Name), e.Symlink, name[i:]), true
			}
		}
		if !followed {
			if byName[name] == nil {
				return "", fmt.Errorf("%q is not in the manifest", name)
			}
			return name, nil
		}
		name = next
	}
	return "", fmt.Errorf("too many links")
}
