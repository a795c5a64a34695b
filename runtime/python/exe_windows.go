package python

// Where the interpreter is in a Python installation.
const (
	exeDir  = ""
	exeName = "python.exe"
)
