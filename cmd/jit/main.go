// Command jit gives people temporary access to restricted resources: asked for,
// approved under written policy, open for a window, closed by itself.
//
// This package owns flags, wiring, rendering and exit codes, one file a command.
// It is the only user of cobra and lipgloss. Nothing that decides stands here:
// rules are the policy package's, standing is the approve package's, trust is
// the record, ledger and replica packages'.
//
// What it prints follows three rules. Data goes to standard output, talk to
// standard error. An error says what was refused and why, and then the command
// that would work. A symbol or colour never stands without a word.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
)

func main() { os.Exit(mainCode(newApp())) }

// mainCode runs the command line and gives the exit code. A panic is 1, not
// Go's 2, which means a mistake in usage.
func mainCode(a *App) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(rawWriter(a.IO.Err), "jit: internal error: %v\n%s", r, debug.Stack())
			code = a.finished(exitUnexpected, nil)
		}
	}()
	leaveNoCore()
	ctx, stop := untilSignalled(os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default is back, so that a second one ends
	// what does not listen.
	context.AfterFunc(ctx, stop)
	return a.run(ctx, os.Args[1:])
}

// untilSignalled gives a context that ends with the first of some signals.
func untilSignalled(signals ...os.Signal) (context.Context, context.CancelFunc) {
	if signals = heeded(signals); len(signals) == 0 { // for none, the package takes all there are
		return context.WithCancel(context.Background())
	}
	return signal.NotifyContext(context.Background(), signals...)
}

// heeded gives those of some signals that this program was not started to ignore, as it
// is by nohup, or in the background of a script. The runtime knows that of hangup and
// interrupt alone.
func heeded(signals []os.Signal) []os.Signal {
	return slices.DeleteFunc(slices.Clone(signals), signal.Ignored)
}

// run executes one command line.
func (a *App) run(ctx context.Context, args []string) int {
	a.IO.Stop = ctx.Done()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.IO.In)
	root.SetOut(a.IO.Out)
	root.SetErr(a.IO.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.unsent()
	}
	if err == nil || errors.Is(err, errListed) {
		return a.finished(exitDone, nil)
	}
	a.progress.done()
	e := a.asExit(ctx, err)
	a.printError(e, wantsJSON(cmd, args))
	return a.finished(e.Exit, err)
}
