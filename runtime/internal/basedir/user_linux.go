package basedir

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// overflowUser asks the system for the overflow user.
func overflowUser() overflow {
	return readOverflow("/proc/sys/kernel/overflowuid", "/proc/self/uid_map")
}

// overflowGroup asks the system for the overflow group.
func overflowGroup() overflow {
	return readOverflow("/proc/sys/kernel/overflowgid", "/proc/self/gid_map")
}

// readOverflow reads the file that has the overflow number and the one that says which
// numbers the user namespace maps.
func readOverflow(number, mapping string) overflow {
	o := overflow{id: usualOverflow}
	if text, err := os.ReadFile(number); err == nil {
		if id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32); err == nil {
			o.id = uint32(id)
		}
	}
	text, err := os.ReadFile(mapping)
	o.known = err == nil
	o.mapped = maps(string(text), uint64(o.id))
	return o
}

// maps reports whether a mapping as of user_namespaces(7), with lines of the first
// number inside, the first outside and how many, maps the number id.
func maps(mapping string, id uint64) bool {
	for line := range strings.Lines(mapping) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		first, err := strconv.ParseUint(fields[0], 10, 32)
		count, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && err2 == nil && first <= id && id < first+count {
			return true
		}
	}
	return false
}

// hasACL reports whether the directory has a POSIX ACL, which is to say entries beyond
// those for its owner, its group and all others: only then is there an attribute.
func hasACL(path string) bool {
	_, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return !errors.Is(err, unix.ENODATA) && !errors.Is(err, errors.ErrUnsupported)
}
