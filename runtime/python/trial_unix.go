//go:build unix

package python

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// hide does nothing: no window opens.
func hide(*exec.Cmd) {}

// busy reports whether the program is open for writing.
func busy(err error) bool { return errors.Is(err, syscall.ETXTBSY) }

// refused reports whether running the program is not allowed: a mount's noexec,
// SELinux, AppArmor, fapolicyd.
func refused(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}

// foreign reports whether the program is none for this kernel and machine.
func foreign(err error) bool {
	return errors.Is(err, syscall.ENOEXEC) || errors.Is(err, badArch)
}

// fromOutside reports whether the program ended by somebody's signal: a user's, an
// administrator's, or that of a system out of memory. macOS kills what is not signed.
func fromOutside(exit *exec.ExitError) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	theirs := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	if runtime.GOOS != "darwin" {
		theirs = append(theirs, syscall.SIGKILL)
	}
	return slices.Contains(theirs, status.Signal())
}

// hint explains a signal.
func hint(exit *exec.ExitError) string {
	status, ok := exit.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Signaled():
		return ""
	case status.Signal() == syscall.SIGILL:
		return " (it was built for newer processors than this one)"
	case status.Signal() == syscall.SIGKILL:
		return " (the system may not accept its signature)"
	}
	return ""
}

// loader is the program that the kernel starts for exe: the dynamic loader that an ELF
// file names, or a script's interpreter; "" if there is none.
func loader(exe string) string {
	f, err := os.Open(exe)
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 4096 // PATH_MAX
	head := make([]byte, most)
	n, _ := io.ReadFull(f, head)
	if script, ok := bytes.CutPrefix(head[:n], []byte("#!")); ok {
		line, _, _ := strings.Cut(string(script), "\n")
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		return name
	}
	file, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz <= most {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err == nil {
				return string(bytes.TrimRight(name, "\x00"))
			}
		}
	}
	return ""
}
