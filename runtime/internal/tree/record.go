package tree

// A record is what lstat says of a tree's entry, as far as a stamp keeps it.
type record struct {
	kind  byte   // 'd', 'f', 'l', or '?' for anything else
	mode  uint32 // as the system gives it
	size  int64
	mtime int64 // Unix time in nanoseconds
}

// same reports whether an entry with record r is as it was with record old. A
// directory's size and time change when Python caches bytecode in it.
func (r record) same(old record) bool {
	if r.kind == 'd' {
		return old.kind == 'd' && r.mode == old.mode
	}
	return r == old
}

// otherWrite are the permission bits that let anyone but the owner write.
const otherWrite = 0o022
