package basedir

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// Network reports whether path is on another machine, or whether that can't be found
// out. An absolute path is needed.
func Network(path string) bool {
	volume := filepath.VolumeName(path)
	if networkVolume(volume) {
		return true
	}
	root, err := windows.UTF16PtrFromString(volume + `\`)
	return err != nil || networkDrive(windows.GetDriveType(root))
}
