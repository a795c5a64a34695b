package group

import "golang.org/x/sys/unix"

// processes are all that the system shows.
func processes() []process {
	infos, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	list := make([]process, len(infos))
	for i := range infos {
		list[i] = fromInfo(&infos[i])
	}
	return list
}

// lookup is the process with this id.
func lookup(pid int) (process, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return process{}, false
	}
	p := fromInfo(info)
	return p, p.pid == pid
}

// fromInfo takes what is needed; the start is in microseconds.
func fromInfo(info *unix.KinfoProc) process {
	start := info.Proc.P_starttime
	return process{
		pid:     int(info.Proc.P_pid),
		ppid:    int(info.Eproc.Ppid),
		created: uint64(start.Sec)*1e6 + uint64(start.Usec),
	}
}
