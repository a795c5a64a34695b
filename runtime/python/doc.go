// Package python runs the Python interpreter that is embedded in this program.
//
// Open extracts a bundle that pyembed-gen made, once for each machine and user, and
// gives commands that run its interpreter as a child process:
//
//	ep, err := python.Open(ctx, data.Data)
//	if err != nil {
//		return err
//	}
//	out, err := ep.CommandContext(ctx, "-c", "print('hello')").Output()
//
// NewEmbeddedPython and its relatives are go-embed-python's functions of these names.
//
// What is promised: the interpreter and its library are whole and as they were
// embedded when Open returns, at the chosen VerifyLevel; they lie in a directory that
// other users can't write; a start that finds them in place takes no exclusive lock.
// Nothing in this package panics, exits or logs.
//
// What is not: that the files stay as they are afterwards, as a program of the same
// user can change them; that the interpreter runs on a system older than it was
// built for.
//
// # Environment of commands
//
// A command of an embedded Python inherits the environment without PYTHONHOME,
// PYTHONPLATLIBDIR, PYTHONEXECUTABLE and __PYVENV_LAUNCHER__: the interpreter finds
// its library from its own path, and the variables would lead it, or a Python that it
// starts, to another one or to none. Paths of AddPythonPath replace an inherited PYTHONPATH. Python caches
// bytecode in the extracted tree, except at VerifyHash, which removes what it finds
// there and sets PYTHONDONTWRITEBYTECODE.
package python
