package main

import (
	"os"

	"github.com/kluctl/go-embed-python/python"
	"github.com/kluctl/go-embed-python/python/internal/data"
)

// The peer has one way to look at what is there, whatever the level.
func main() {
	report(measure(os.Args[1:], data.Data, func(_, base string) (interpreter, error) {
		return python.NewEmbeddedPythonWithTmpDir(base+"/python", true)
	}))
}
