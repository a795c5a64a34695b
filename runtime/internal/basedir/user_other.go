//go:build unix && !linux

package basedir

// overflowUser is nobody: there are no user namespaces, and every number is mapped.
func overflowUser() overflow {
	return overflow{id: usualOverflow, mapped: true, known: true}
}

// overflowGroup is no group either.
func overflowGroup() overflow {
	return overflowUser()
}

// hasACL is not asked here.
func hasACL(string) bool {
	return false
}
