package tree

import (
	"strings"
	"testing"
)

// TestLevelFromEnv: three words are levels, none is the default, others are an error
// that says the variable, its value and the words.
func TestLevelFromEnv(t *testing.T) {
	for value, want := range map[string]Level{"": Stat, "stat": Stat, "stamp": Stamp, "hash": Hash} {
		level, err := LevelFromEnv(func(name string) string {
			if name != "PYEMBED_VERIFY" {
				t.Errorf("asked for %s", name)
			}
			return value
		})
		if err != nil || level != want {
			t.Errorf("%q: %v %v", value, level, err)
		}
	}
	for _, value := range []string{"Hash", "hash ", "2"} {
		_, err := LevelFromEnv(func(string) string { return value })
		if err == nil {
			t.Errorf("%q is accepted", value)
			continue
		}
		for _, part := range []string{"$PYEMBED_VERIFY", `"` + value + `"`, "stamp", "stat", "hash"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %s", err, part)
			}
		}
	}
}
