package tree

import "fmt"

// EnvLevel names the environment variable that sets the level: stamp, stat or hash.
const EnvLevel = "PYEMBED_VERIFY"

// LevelFromEnv is the level that $PYEMBED_VERIFY names, Stat if it is empty or not set.
func LevelFromEnv(getenv func(string) string) (Level, error) {
	switch value := getenv(EnvLevel); value {
	case "", "stat":
		return Stat, nil
	case "stamp":
		return Stamp, nil
	case "hash":
		return Hash, nil
	default:
		return Stat, fmt.Errorf("$%s is %q: it can be stamp, stat or hash", EnvLevel, value)
	}
}
