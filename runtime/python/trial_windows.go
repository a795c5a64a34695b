package python

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// hide keeps a program without a console from opening one.
func hide(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_NO_WINDOW}
}

// busy reports whether a scanner has the program open.
func busy(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }

// refused reports whether running the program is not allowed: by permissions, a virus
// scanner, AppLocker and Software Restriction Policies, or App Control.
func refused(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_VIRUS_INFECTED) ||
		errors.Is(err, windows.ERROR_VIRUS_DELETED) || errors.Is(err, windows.ERROR_ACCESS_DISABLED_BY_POLICY) ||
		errors.Is(err, windows.ERROR_SYSTEM_INTEGRITY_POLICY_VIOLATION)
}

// foreign reports whether the program is none for this system and machine.
func foreign(err error) bool {
	return errors.Is(err, windows.ERROR_BAD_EXE_FORMAT) || errors.Is(err, windows.ERROR_EXE_MACHINE_TYPE_MISMATCH)
}

// fromOutside reports whether the program ended by Ctrl-C or with its session.
func fromOutside(exit *exec.ExitError) bool {
	code := windows.NTStatus(exit.ExitCode())
	return code == windows.STATUS_CONTROL_C_EXIT || exit.ExitCode() == int(windows.ERROR_PROCESS_ABORTED)
}

// hint explains the exit code of a program that the system ended.
func hint(exit *exec.ExitError) string {
	switch windows.NTStatus(exit.ExitCode()) {
	case windows.STATUS_DLL_NOT_FOUND:
		return " (a DLL is missing)"
	case windows.STATUS_ENTRYPOINT_NOT_FOUND:
		return " (it was built for a newer Windows)"
	case windows.STATUS_ILLEGAL_INSTRUCTION:
		return " (it was built for newer processors than this one)"
	}
	return ""
}

// loader is not known here: no file names one.
func loader(string) string { return "" }
