package python

import (
	"context"
	"time"

	"pyembed.invalid/runtime/internal/store"
)

// WithoutSweep keeps Open from removing what was not used for a week, see Prune.
func WithoutSweep() Option {
	return func(c *config) { c.noSweep = true }
}

// Prune removes what was extracted below the directories that Open uses, or below
// WithCacheDir's, and was not used for olderThan, give or take a day: interpreters,
// packages and scripts. It also removes what killed processes left behind. It returns the
// paths of the trees that it removed. Of the options, WithCacheDir and WithLogger count.
//
// A tree stays while a process has it open, and on Linux while its interpreter runs at
// all, as a child that outlives its parent; so does one that holds a file which is
// neither the bundle's nor Python's bytecode. Nothing is removed from network file
// systems, where locks of other machines may not be seen. Open does the same by itself,
// for what was not used for a week, whenever it extracts.
func Prune(ctx context.Context, olderThan time.Duration, opts ...Option) (removed []string, err error) {
	var c config
	for _, opt := range opts {
		opt(&c)
	}
	return store.Prune(ctx, c.cacheDir, olderThan, c.logger)
}
