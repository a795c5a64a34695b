//go:build unix

package tree

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// TestForks: a program can be run as soon as it is written, while other goroutines
// fork all the time. Without the fork lock some are "text file busy".
func TestForks(t *testing.T) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
					exec.Command("/bin/true").Run()
				}
			}
		}()
	}
	dir := t.TempDir()
	for i := range 200 {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := writePiece(path, 0, []byte("#!/bin/sh\n"), true, true); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command(path).Run(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
