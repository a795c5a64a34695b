// Package python runs the Python interpreter that is embedded in this program.
//
// Open extracts a bundle that pyembed-gen made, once for each machine and user, and
// returns an EmbeddedPython, whose commands run its interpreter as a child process:
//
//	ep, err := python.Open(ctx, data.Data)
//	if err != nil {
//		return err
//	}
//	out, err := ep.CommandContext(ctx, "-c", "print('hello')").Output()
//
// NewEmbeddedPython and its relatives are go-embed-python's functions of these names.
//
// # What is promised
//
// The interpreter and its library are whole and as they were embedded when Open
// returns, at the chosen VerifyLevel. They lie in a directory that other users can't
// write. A start that finds them in place takes no exclusive lock. A process that is
// killed while it extracts leaves nothing that is used, and blocks nobody. What a
// process has open is not removed by Cleanup or Prune of another. Nothing in this
// package panics, exits or logs by itself.
//
// # What is not
//
//   - That the files stay as they are after Open: a program of the same user can change
//     them, and root can do anything. VerifyHash finds what was changed before.
//   - Durability: nothing is synced to the disk. After a power failure the next Open
//     may find files to put back, and at VerifyStamp may not notice.
//   - Network file systems: locks may not be seen by other machines there, so nothing
//     is pruned; two machines may do the same work, but a tree still appears whole.
//   - That a child which outlives its Go parent keeps its interpreter: the parent's
//     lease ends with the parent. On Linux a tree whose interpreter runs is not
//     removed; elsewhere keep the parent, or use a directory of your own.
//   - That the interpreter runs on a system older than it was built for. Open, when it
//     extracts, runs it once, and fails with ErrUnsupportedPlatform if it can't.
//
// # Environment of commands
//
// A command inherits the environment without PYTHONHOME, PYTHONPLATLIBDIR,
// PYTHONEXECUTABLE and __PYVENV_LAUNCHER__: the interpreter finds its library from its
// own path, and the variables would lead it, or a Python that it starts, to another one
// or to none. Modules are looked for in the directory of the script (or the current one),
// in those of AddPythonPath in the order of the calls, in those of an inherited
// PYTHONPATH, in the standard library, and in the user's site directory. Python caches
// bytecode in the extracted tree, except at VerifyHash, which removes what it finds
// there and sets PYTHONDONTWRITEBYTECODE.
//
// All this is in the command's Env: add to it, as by append(cmd.Env, "X=1"). A program
// that sets Env from os.Environ loses it, and one that sets SysProcAttr or Cancel
// decides by itself what ends when a context does.
//
// # Isolation
//
// With WithIsolation or WithPackages none of the user's settings for other Pythons is
// seen: no variable whose name begins with PYTHON, no user site directory, and neither
// the current directory nor that of the script. Other variables stay, and none is set.
// Modules are looked for in the directories of ScriptContext, in those of AddPythonPath,
// in the standard library, and in those of WithPackages, of which .pth files are
// processed. The site-packages of the extracted tree are not seen.
//
// All this is in a small directory beside the tree, with an interpreter that is the
// tree's by a link; GetExePath and sys.executable are its path. It looks like a virtual
// environment, so sys.prefix is not sys.base_prefix. What a script starts with
// sys.executable, by subprocess or by multiprocessing with spawn or forkserver, is
// isolated just the same, and so is any process that executes GetExePath, as long as the
// variables are left out: some, such as PYTHONINSPECT and PYTHONWARNINGS, are read before
// anything says otherwise. An environment that its venv module makes (by -m venv
// --without-pip: a bundle has no ensurepip) is a plain one of the tree's interpreter.
//
// The directory is compared completely, whatever the VerifyLevel, each time that a
// command is made: what does not belong there is removed, so nothing can be installed
// into it. There is one for each list of directories, so a directory that has another
// name at each start makes a new one each time. They go with the tree, or when they are
// old and nobody uses it. At VerifyHash bytecode is not written by any child either.
package python
