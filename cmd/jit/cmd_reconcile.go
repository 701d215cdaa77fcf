package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// defaultReconcilerConfig is where the packages expect it.
const defaultReconcilerConfig = "/etc/jit/reconcile.yaml"

type reconcileOptions struct {
	app    *App
	config string
	dryRun bool
	daemon bool
	every  string
	log    string
	out    outputFlags
}

// reconcileView is what a run came to.
type reconcileView struct {
	DryRun   bool         `json:"dryRun"`
	Exit     int          `json:"exit"`
	Changes  []changeView `json:"changes"`
	Opened   int          `json:"opened"`
	Ended    int          `json:"ended"`
	Failed   int          `json:"failed"`
	Withheld int          `json:"withheld"`
	Drift    []string     `json:"drift"`
	Problems []string     `json:"problems"`
	Warnings []string     `json:"warnings"`
	Store    *string      `json:"store"`
	Written  int          `json:"receiptsWritten"`
	Spooled  int          `json:"receiptsSpooled"`
	Owed     int          `json:"receiptsOwed"`
	Healed   *string      `json:"healed"`
	Beat     bool         `json:"heartbeat"`
	Wake     *string      `json:"wake"`
	Carried  []string     `json:"carried"`
}

type changeView struct {
	Action   string   `json:"action"`
	Outcome  string   `json:"outcome"`
	Request  string   `json:"request"`
	Resource string   `json:"resource"`
	Role     string   `json:"role"`
	Person   string   `json:"person"`
	Ends     *string  `json:"ends"`
	Cause    *string  `json:"cause"`
	Sessions int      `json:"sessionsEnded"`
	Left     []string `json:"left"`
	Error    *string  `json:"error"`
	Hint     *string  `json:"hint"`
}

var reconcileFields = []string{
	"dryRun", "exit", "changes", "opened", "ended", "failed", "withheld", "drift", "problems", "warnings", "store",
	"receiptsWritten", "receiptsSpooled", "receiptsOwed", "healed", "heartbeat", "wake", "carried",
}

func newReconcileCmd(app *App) *cobra.Command {
	o := &reconcileOptions{app: app}
	cmd := &cobra.Command{
		Use: "reconcile", Short: "Open what is approved, end what is over, and sign receipts",
		Long: `Make one run beside the targets: end what is over, which needs no network; then
fetch, open what is approved, and sign a receipt of each change. cron or a
systemd timer runs it every minute or so. A run with nothing to do changes
nothing.

Where a push has put the store's history on a side branch, the run heals it with
the reconciler's key, by an ordinary push, before it plans.

With --daemon it makes one run after another, in every minute and at the moment
when something that is open ends, until it is told to stop by SIGTERM or SIGINT,
which is exit 0. What goes wrong in a run is told, and the next one tries again.

Exit codes: 0 done, 4 the store's history was rewritten, 5 the store could not
be reached (what is over has ended all the same), 6 a target failed, or something
was withheld because nothing shows that the store is the true one.`,
		Example: `  jit reconcile --config /etc/jit/reconcile.yaml
  jit reconcile --dry-run
  jit reconcile --daemon --every 30s`,
		GroupID: groupRun, Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the reconciler's configuration `FILE` (JIT_CONFIG), "+defaultReconcilerConfig+" when left out")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and change nothing; what a target refuses only when it is changed is not found")
	f.BoolVar(&o.daemon, "daemon", false, "go on making runs, and wake for each ending")
	f.StringVar(&o.every, "every", "", "the longest `TIME` between two runs of --daemon, 1m when left out")
	f.StringVar(&o.log, "log", "", "write a log to standard error: `text or json`")
	_ = cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	o.out.add(cmd, reconcileFields)
	return cmd
}

func (o *reconcileOptions) run(ctx context.Context) error {
	a := o.app
	log, err := o.logger()
	if err != nil {
		return err
	}
	every, err := o.interval()
	if err != nil {
		return err
	}
	path := o.config
	if path == "" {
		path = a.Env("JIT_CONFIG")
	}
	if path == "" {
		path = defaultReconcilerConfig
	}
	if a.Scrub != nil {
		if err := a.Scrub(); err != nil {
			return fmt.Errorf("forget the environment: %w", err)
		}
	}
	drivers := builtin.Drivers()
	config, err := reconcile.LoadConfig(path, drivers)
	if err != nil {
		return configError(err)
	}
	report := func(c reconcile.Change) {
		if !o.out.wantsData() {
			fmt.Fprintln(a.IO.Out, c)
		}
	}
	options := reconcile.Options{Config: config, Drivers: drivers, Now: a.Now, DryRun: o.dryRun, Log: log, Report: report, Version: thisVersion().Version}
	if !o.daemon {
		return o.told(reconcile.Run(ctx, options))
	}
	tell := func(res reconcile.Result, err error) {
		if err := o.told(res, err); err != nil {
			a.printError(a.asExit(ctx, err), o.out.wantsData())
		}
		a.IO.renew()
		a.tellMissed(nil, false)
	}
	reconcile.Daemon{Options: options, Every: every, Done: tell}.Loop(ctx)
	return nil
}

// interval gives the time between two runs of a daemon.
func (o *reconcileOptions) interval() (time.Duration, error) {
	switch {
	case !o.daemon && o.every != "":
		return 0, usageErr("add --daemon, or leave it out", "--every is how often --daemon makes a run")
	case o.daemon && o.dryRun:
		return 0, usageErr("keep one of them", "--daemon and --dry-run do not go together")
	case o.every == "":
		return reconcile.DefaultEvery, nil
	}
	d, err := parseFor(o.every)
	return d.Duration, err
}

// told prints what a run came to, and gives the error with which a program ends that
// made it.
func (o *reconcileOptions) told(res reconcile.Result, err error) error {
	if errors.Is(err, reconcile.ErrBusy) {
		return failure(exitUnexpected, "busy", "let it finish; one that hangs is seen with: ps", "%v", err)
	}
	if err != nil {
		return err
	}
	unprinted := o.app.Print(o.out, o.view(res), func(io.Writer) error { return nil })
	// What the run came to counts, also where it could not be printed.
	if err := o.conclude(res); err != nil {
		if unprinted != nil {
			o.app.Warn("%v", unprinted)
		}
		return err
	}
	return unprinted
}

func (o *reconcileOptions) logger() (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	switch o.log {
	case "":
		return slog.New(slog.DiscardHandler), nil
	case "text":
		return slog.New(slog.NewTextHandler(o.app.IO.Err, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(rawWriter(o.app.IO.Err), options)), nil
	}
	return nil, usageErr("use: --log json", "%q is not a form of log: text or json", o.log)
}

// configError gives a reconciler's bad configuration its exit code.
func configError(err error) error {
	c, ok := errors.AsType[*reconcile.ConfigError](err)
	if !ok {
		return err
	}
	hint := c.Hint
	if hint == "" {
		hint = "correct the file, or name another: jit reconcile --config FILE"
	}
	return &exitError{Exit: exitUsage, Code: "bad-config", Message: err.Error(), Hint: hint, Err: err}
}

// conclude says what the lines of the changes do not, and gives the exit code.
func (o *reconcileOptions) conclude(res reconcile.Result) error {
	a := o.app
	a.reportHealed(res.Healed)
	if res.WouldHeal {
		a.Say("a run would heal the history first, if the policy lets this reconciler")
	}
	for _, line := range res.Carried {
		a.Say("%s", clean(line))
	}
	for _, line := range res.Drift {
		a.Warn("drift: %s", line)
	}
	for _, err := range res.Problems {
		a.Warn("%v", err)
	}
	for _, err := range res.Warnings {
		a.Warn("%v", err)
	}
	if n := res.ReceiptsSpooled + res.ReceiptsOwed; n > 0 {
		a.Say("%s for the store; the next run sends what is left", count(n, "receipt")+" "+waits(n))
	}
	code := res.ExitCode()
	switch code {
	case exitDone:
		return nil
	case exitUntrusted, exitUnreachable:
		e := *a.asExit(context.Background(), res.SyncErr)
		e.Exit = code
		e.Message = unread(res) + ": " + e.Error()
		return &e
	case exitPartly:
		if res.SyncErr != nil {
			a.Warn("%s: %v", unread(res), res.SyncErr)
		}
		return failure(code, "partly", "what failed is tried again in the next run", "%s", partly(res))
	}
	return failure(code, "unexpected", "run: jit doctor", "the run did not do all of its work: %v", res.SyncErr)
}

// unread says what it means that the store failed: what was open before is looked after
// whatever it does.
func unread(res reconcile.Result) string {
	if res.Read {
		return "the store does not have what this run has signed"
	}
	return "the store could not be read, and nothing new was opened"
}

// partly says in one line what went wrong with the targets.
func partly(res reconcile.Result) string {
	var parts []string
	if res.Failed > 0 {
		parts = append(parts, count(res.Failed, "change")+" failed")
	}
	if res.Withheld > 0 {
		parts = append(parts, count(res.Withheld, "grant")+" did not open for want of evidence that the store is the true one")
	}
	left := 0
	for _, c := range res.Changes {
		if len(c.Ending.Left) > 0 {
			left++
		}
	}
	if left > 0 {
		parts = append(parts, count(left, "grant")+" could not be ended whole")
	}
	if res.Left > 0 {
		parts = append(parts, count(res.Left, "line")+" of drift may let somebody in")
	}
	if n := len(res.Problems); n > 0 {
		parts = append(parts, count(n, "problem"))
	}
	return strings.Join(parts, ", ")
}

func (o *reconcileOptions) view(res reconcile.Result) reconcileView {
	v := reconcileView{
		DryRun: o.dryRun, Exit: res.ExitCode(), Changes: []changeView{}, Opened: res.Opened, Ended: res.Ended, Failed: res.Failed, Withheld: res.Withheld, Beat: res.Beat, Wake: timeOrNull(res.Wake),
		Carried: notNull(res.Carried), Drift: notNull(res.Drift), Problems: []string{}, Warnings: []string{}, Written: res.ReceiptsWritten, Spooled: res.ReceiptsSpooled, Owed: res.ReceiptsOwed,
	}
	if res.SyncErr != nil {
		v.Store = orNull(res.SyncErr.Error())
	}
	if res.Healed != nil {
		v.Healed = orNull(string(res.Healed.Commit))
	}
	for _, err := range res.Problems {
		v.Problems = append(v.Problems, err.Error())
	}
	for _, err := range res.Warnings {
		v.Warnings = append(v.Warnings, err.Error())
	}
	for _, c := range res.Changes {
		cv := changeView{
			Action: string(c.Action), Outcome: string(c.Outcome), Request: string(c.Request), Resource: c.Grant.Resource, Role: c.Grant.Role,
			Person: c.Grant.Person, Ends: timeOrNull(c.Grant.Ends), Cause: orNull(c.Cause), Sessions: c.Ending.SessionsEnded, Left: notNull(c.Ending.Left),
		}
		if c.Err != nil {
			cv.Error, cv.Hint = orNull(c.Err.Error()), orNull(target.HintOf(c.Err))
		}
		v.Changes = append(v.Changes, cv)
	}
	return v
}
