package basedir

import "strings"

// networkType reports whether a file system of this type, the f_type that Linux's
// statfs(2) gives, is a network or cluster file system, or one of a virtual machine's
// host. FUSE, of which virtiofs is a kind, may be any of these. The numbers are from
// linux/magic.h; those with a remark from src/stat.c of GNU coreutils, where these
// types are marked as remote.
func networkType(magic uint32) bool {
	switch magic {
	case 0x00006969, // NFS
		0x0000517b, // SMB
		0xff534d42, // CIFS
		0xfe534d42, // SMB2
		0x01021997, // 9P
		0x65735546, // FUSE
		0x5346414f, // AFS
		0x6b414653, // AFS of the kernel (kAFS)
		0x00c36400, // Ceph
		0x73757245, // Coda
		0x7461636f, // OCFS2
		0x0000564c, // NCP
		0x0bd00bd0, // Lustre: coreutils
		0x47504653, // GPFS: coreutils
		0x01161970, // GFS2: coreutils
		0x61636673, // ACFS: coreutils
		0x19830326, // BeeGFS (FhGFS): coreutils
		0x013111a8, // IBRIX: coreutils
		0xaad7aaea, // PanFS: coreutils
		0x7c7c6673, // Parallels' shared folders: coreutils
		0xbeefdead, // StorNext: coreutils
		0x786f4256, // VirtualBox's shared folders: coreutils
		0xbacbacbc, // VMware's shared folders: coreutils
		0xa501fcf5: // VxFS: coreutils
		return true
	default:
		return false
	}
}

// networkVolume reports whether the volume of a Windows path is another machine's, as
// in \\server\share and \\?\UNC\server\share, or none.
func networkVolume(volume string) bool {
	local, device := strings.CutPrefix(volume, `\\?\`)
	if !device {
		local = strings.TrimPrefix(volume, `\\.\`)
	}
	return local == "" || strings.HasPrefix(local, `\\`) || len(local) > 3 && strings.EqualFold(local[:4], `UNC\`)
}

// networkDrive reports whether a drive of this type, as GetDriveType gives it, is
// another machine's or unknown.
func networkDrive(kind uint32) bool {
	const removable, fixed, cdrom, ramdisk = 2, 3, 5, 6
	switch kind {
	case removable, fixed, cdrom, ramdisk:
		return false
	default:
		return true
	}
}
