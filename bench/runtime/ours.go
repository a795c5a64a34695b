package main

import (
	"context"
	"fmt"
	"os"

	"bench.invalid/ours/data"
	"pyembed.invalid/runtime/python"
)

var levels = map[string]python.VerifyLevel{"stat": python.VerifyStat, "stamp": python.VerifyStamp, "hash": python.VerifyHash}

func main() {
	report(measure(os.Args[1:], data.Data, func(level, base string) (interpreter, error) {
		verify, ok := levels[level]
		if !ok {
			return nil, fmt.Errorf("no level %s", level)
		}
		return python.Open(context.Background(), data.Data, python.WithCacheDir(base), python.WithVerify(verify))
	}))
}
