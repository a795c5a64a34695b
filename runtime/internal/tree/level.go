package tree

import (
	"fmt"
	"slices"
	"strconv"
)

// EnvLevel names the environment variable that sets the level: stamp, stat or hash.
const EnvLevel = "PYEMBED_VERIFY"

// levelNames are the names of levels.
var levelNames = []string{Stat: "stat", Stamp: "stamp", Hash: "hash"}

// String is the level's name, as $PYEMBED_VERIFY has it.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return strconv.Itoa(int(l))
	}
	return levelNames[l]
}

// LevelFromEnv is the level that $PYEMBED_VERIFY names, Stat if it is empty or not set.
func LevelFromEnv(getenv func(string) string) (Level, error) {
	value := getenv(EnvLevel)
	if value == "" {
		return Stat, nil
	}
	if i := slices.Index(levelNames, value); i >= 0 {
		return Level(i), nil
	}
	return Stat, fmt.Errorf("$%s is %q: it can be stamp, stat or hash", EnvLevel, value)
}
