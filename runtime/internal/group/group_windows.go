package group

import (
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// separate does nothing: there are no groups that could be ended as one.
func separate(*exec.Cmd) {}

// end terminates the child and its descendants. A process keeps the id of a parent
// that has ended, and no id becomes another's while there is a handle, so parents go
// first and their handles are kept.
func end(child *os.Process) error {
	handle, created, ok := open(child.Pid, windows.PROCESS_QUERY_LIMITED_INFORMATION)
	if !ok {
		return child.Kill()
	}
	held := []windows.Handle{handle}
	defer func() {
		for _, handle := range held {
			windows.CloseHandle(handle)
		}
	}()
	// Success shows that the child was not waited for, so that the handle is its.
	if err := child.Kill(); err != nil {
		return err
	}
	endAll(process{pid: child.Pid, created: created}, processes, func(p process) bool {
		handle, created, ok := open(p.pid, windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.PROCESS_TERMINATE)
		if !ok {
			return false
		}
		if created != p.created || windows.TerminateProcess(handle, 1) != nil {
			windows.CloseHandle(handle)
			return false
		}
		held = append(held, handle)
		return true
	})
	return nil
}

// processes are all of which the start can be asked. Who started after the snapshot
// has the id of one that was in it, but not its parent: the next snapshot shows it.
func processes() []process {
	var now windows.Filetime
	windows.GetSystemTimePreciseAsFileTime(&now)
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil
	}
	defer windows.CloseHandle(snapshot)
	var list []process
	entry := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snapshot, &entry); err == nil; err = windows.Process32Next(snapshot, &entry) {
		pid := int(entry.ProcessID)
		if handle, created, ok := open(pid, windows.PROCESS_QUERY_LIMITED_INFORMATION); ok {
			windows.CloseHandle(handle)
			if created <= ticks(now) {
				list = append(list, process{pid: pid, ppid: int(entry.ParentProcessID), created: created})
			}
		}
	}
	return list
}

// open is a handle of a process and when the process started.
func open(pid int, access uint32) (_ windows.Handle, created uint64, ok bool) {
	handle, err := windows.OpenProcess(access, false, uint32(pid))
	if err != nil {
		return 0, 0, false
	}
	var creation, exit, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(handle, &creation, &exit, &kernel, &user); err != nil {
		windows.CloseHandle(handle)
		return 0, 0, false
	}
	return handle, ticks(creation), true
}

// ticks is a time in units of 100 ns.
func ticks(t windows.Filetime) uint64 {
	return uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime)
}
