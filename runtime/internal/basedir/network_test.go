package basedir

import "testing"

// TestNetworkType: numbers as of linux/magic.h and of GNU coreutils.
func TestNetworkType(t *testing.T) {
	for magic, want := range map[uint32]bool{
		0x6969:     true,  // NFS
		0xff534d42: true,  // CIFS
		0xfe534d42: true,  // SMB2
		0x65735546: true,  // FUSE
		0x01021997: true,  // 9P
		0x0bd00bd0: true,  // Lustre
		0x786f4256: true,  // vboxsf
		0xef53:     false, // ext4
		0x01021994: false, // tmpfs
		0x9123683e: false, // btrfs
		0x58465342: false, // XFS
		0x794c7630: false, // overlayfs
		0x2fc12fc1: false, // ZFS
	} {
		if got := networkType(magic); got != want {
			t.Errorf("%#x: %v", magic, got)
		}
	}
}

// TestNetworkVolume: which volumes of Windows paths have no drive of this machine.
func TestNetworkVolume(t *testing.T) {
	for volume, want := range map[string]bool{
		`C:`:                       false,
		`\\?\C:`:                   false,
		`\\.\C:`:                   false,
		`\\?\Volume{b75e2c83}`:     false,
		`\\server\share`:           true,
		`\\?\UNC\server\share`:     true,
		`\\?\unc\server\share`:     true,
		`\\.\UNC\server\share`:     true,
		``:                         true,
		`\\wsl.localhost\Debian12`: true,
	} {
		if got := networkVolume(volume); got != want {
			t.Errorf("%s: %v", volume, got)
		}
	}
}

// TestNetworkDrive: drives as of GetDriveType.
func TestNetworkDrive(t *testing.T) {
	for kind, want := range []bool{0: true, 1: true, 2: false, 3: false, 4: true, 5: false, 6: false, 7: true} {
		if got := networkDrive(uint32(kind)); got != want {
			t.Errorf("%d: %v", kind, got)
		}
	}
}
