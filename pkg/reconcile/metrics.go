package reconcile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/ledger"
)

// metricsEnding is what node_exporter's textfile collector asks of a name: it reads no
// other file of the folder, and so none that is being written.
const metricsEnding = ".prom"

// metricsMode lets node_exporter read the file, which runs as another user, as it should.
// There is nothing in it that may not be seen: numbers, and names of resources.
const metricsMode = 0o644

// metricsPatience is how long a run waits for the file to be written: a folder on a disk
// that hangs must hold up neither the lock nor the next ending.
const metricsPatience = 5 * time.Second

// talliesName is the file in the state folder of what must outlive a run: counters, and
// the time of the last success.
const talliesName = "metrics.json"

// maxTallies bounds what is read of it: some hundred bytes a resource, of which there are
// at most a few thousand.
const maxTallies = 1 << 20

// tallies only grow. Prometheus notices where they begin again.
type tallies struct {
	Success time.Time         `json:"success"`
	Runs    map[string]uint64 `json:"runs"`
	// Opened, Ended and Failed are by resource.
	Opened map[string]uint64 `json:"opened"`
	Ended  map[string]uint64 `json:"ended"`
	Failed map[string]uint64 `json:"failed"`
}

// readTallies gives what was kept; all is zero where there is nothing that can be read.
func readTallies(path string) (t tallies, err error) {
	data, err := owned.ReadFile(path, maxTallies)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err = d.Decode(&t); err != nil {
			t = tallies{}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, m := range []*map[string]uint64{&t.Runs, &t.Opened, &t.Ended, &t.Failed} {
		if *m == nil {
			*m = map[string]uint64{}
		}
	}
	return t, err
}

// count adds a run.
func (t *tallies) count(res Result, now time.Time) {
	code := res.ExitCode()
	t.Runs[strconv.Itoa(code)]++
	if code == exitDone {
		t.Success = now
	}
	for _, c := range res.Changes {
		switch {
		case c.Outcome == Failed:
			t.Failed[c.Grant.Resource]++
		case c.Outcome != Done || c.Action == Intend:
		case c.Action == End:
			t.Ended[c.Grant.Resource]++
		default:
			t.Opened[c.Grant.Resource]++
		}
	}
}

// keepMetrics counts the run and writes the file of metrics, where one is configured. It
// comes last, and what goes wrong is a warning: nobody's access depends on it.
func (r *run) keepMetrics() {
	path := r.o.Config.Metrics
	if path == "" || r.o.DryRun {
		return
	}
	warn := func(err error) {
		r.result.Warnings = append(r.result.Warnings, err)
		r.log.Warn("metrics", "error", err)
	}
	kept := filepath.Join(r.o.Config.State, talliesName)
	t, err := readTallies(kept)
	if err != nil {
		warn(fmt.Errorf("the counters begin again: %w", err))
	}
	t.count(r.result, r.o.Now().UTC().Round(0))
	if data, err := json.Marshal(t); err != nil {
		warn(fmt.Errorf("keep the counters: %w", err))
	} else if r.theirs {
		warn(errors.New("the counters are not kept in a folder of others"))
	} else if err := writeWhole(kept, data); err != nil {
		warn(fmt.Errorf("keep the counters: %w", err))
	}
	measured, err := r.measure(t)
	if err != nil {
		warn(fmt.Errorf("the metrics are not whole: %w", err))
	}
	if err := r.o.metrics.write(path, []byte(measured.text(r.o.Config.Name))); err != nil {
		warn(fmt.Errorf("the metrics could not be written: %w", err))
	}
}

// measure takes the readings. What cannot be learnt is left out, and the error says why.
func (r *run) measure(t tallies) (m readings, err error) {
	now, m := r.now(), readings{}
	m.add(metricInfo, 1, r.o.Version)
	m.add(metricRun, seconds(r.o.Now()))
	m.add(metricSuccess, seconds(t.Success))
	m.add(metricDuration, max(0, r.o.Now().Sub(r.began).Seconds()))
	m.add(metricExit, float64(r.result.ExitCode()))
	for _, code := range slices.Sorted(maps.Keys(t.Runs)) {
		m.add(metricRuns, float64(t.Runs[code]), code)
	}
	m.add(metricProblems, float64(len(r.result.Problems)))
	m.add(metricClosed, one(r.closed != nil || !r.synced))
	m.add(metricNext, seconds(r.result.Wake))
	m.add(metricOwed, float64(r.result.ReceiptsOwed))
	open, overdue := r.standing(now)
	incomplete, failures, withheld := map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range r.result.Changes {
		switch name := c.Grant.Resource; {
		case c.Outcome == Failed:
			failures[name]++
		case c.Outcome == Withheld:
			withheld[name]++
		case len(c.Ending.Left) > 0:
			incomplete[name]++
		}
	}
	for _, name := range r.measured(open) {
		m.add(metricOpen, float64(open[name]), name)
		m.add(metricOverdue, float64(overdue[name]), name)
		m.add(metricIncomplete, float64(incomplete[name]), name)
		m.add(metricFailures, float64(failures[name]), name)
		m.add(metricWithheld, float64(withheld[name]), name)
		m.add(metricDrift, float64(r.drifts[name]), name)
		m.add(metricOpened, float64(t.Opened[name]), name)
		m.add(metricEnded, float64(t.Ended[name]), name)
		m.add(metricFailed, float64(t.Failed[name]), name)
		if res, ok := r.resource(name); ok && res.Evidence() > 0 && r.recovered {
			m.add(metricEvidence, seconds(r.answered), name)
			m.add(metricLimit, res.Evidence().Seconds(), name)
		}
	}
	m.add(metricSynced, one(r.synced))
	if r.book == nil {
		return m, nil
	}
	return m, errors.Join(r.measureEmergencies(m, r.measured(open), now), r.measureStore(m))
}

// standing counts what may be open by resource, and what of it should have ended: by its
// window, or because its ending was tried in this run and failed.
func (r *run) standing(now time.Time) (open, overdue map[string]int) {
	failed := map[string]bool{}
	for _, c := range r.result.Changes {
		failed[c.Grant.ID] = failed[c.Grant.ID] || c.Action == End && c.Outcome == Failed
	}
	open, overdue = map[string]int{}, map[string]int{}
	for _, k := range r.snapshot() {
		if !k.mayBeOpen() {
			continue
		}
		open[k.Grant.Resource]++
		if failed[k.Grant.ID] || !k.Grant.Ends.After(now) {
			overdue[k.Grant.Resource]++
		}
	}
	return open, overdue
}

// measured names the resources that metrics are about: those of the configuration, and
// those where something is open that a configuration had once.
func (r *run) measured(open map[string]int) []string {
	names := map[string]bool{}
	for name := range r.o.Config.Targets {
		names[name] = true
	}
	for name := range open {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// measureEmergencies counts those that nobody has acknowledged, each for every resource
// that it is of.
func (r *run) measureEmergencies(m readings, resources []string, now time.Time) error {
	entries, err := r.book.Requests(ledger.Filter{Unacknowledged: true}, now)
	if err != nil {
		return err
	}
	red, overdue := map[string]int{}, map[string]int{}
	for _, e := range entries {
		names := map[string]bool{}
		for _, g := range e.Request.Record.Grants {
			names[g.Resource] = true
		}
		for name := range names {
			red[name]++
			if e.Debt.Overdue(now) {
				overdue[name]++
			}
		}
	}
	for _, name := range resources {
		m.add(metricEmergencies, float64(red[name]), name)
		m.add(metricDebts, float64(overdue[name]), name)
	}
	return nil
}

func (r *run) measureStore(m readings) error {
	m.add(metricFetched, seconds(r.book.Freshness()))
	_, aside, err := r.book.Counts()
	if err == nil {
		m.add(metricSetAside, float64(aside))
	}
	waiting, waitErr := r.book.Spooled()
	if waitErr == nil {
		m.add(metricWaiting, float64(len(waiting)))
	}
	refused, refusedErr := r.book.Refused()
	if refusedErr == nil {
		m.add(metricRefused, float64(len(refused)))
	}
	return errors.Join(err, waitErr, refusedErr)
}

// seconds gives a time as Prometheus has it; 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// metricsWriter writes the file, one writing at a time. The zero value will do for one
// run; a daemon keeps the same, so that on a disk that hangs one goroutine waits and not
// one for each run.
type metricsWriter struct {
	busy chan struct{}
	// put is putMetrics but in tests.
	put func(path string, data []byte) error
}

func newMetricsWriter() *metricsWriter {
	return &metricsWriter{busy: make(chan struct{}, 1), put: putMetrics}
}

// errMetricsHang means that the file is still being written.
var errMetricsHang = fmt.Errorf("the disk has not answered within %s", metricsPatience)

func (w *metricsWriter) write(path string, data []byte) error {
	select {
	case w.busy <- struct{}{}:
	default:
		return fmt.Errorf("an earlier one is still being written: %w", errMetricsHang)
	}
	done := make(chan error, 1)
	go func() {
		err := w.put(path, data)
		<-w.busy
		done <- err
	}()
	patience := time.NewTimer(metricsPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return errMetricsHang
	}
}

// putMetrics puts the file into its place, whole or not at all. The folder may be that of
// another user, who could lay a link where jit is about to write: no link is followed, and
// what lies at the two names is replaced. It is not synced: after a crash the next run
// writes it again.
func putMetrics(path string, data []byte) (err error) {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	// Asked for when it is made, the mode would be cut by the umask, which is tight for a service.
	if err = errors.Join(err, f.Chmod(metricsMode), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the cause is more worth telling than this
	}
	return err
}

// checkMetrics says what is wrong with the place of the file, or is empty.
func checkMetrics(path string) string {
	switch {
	case path == "":
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return "is not an absolute path, written plainly"
	case !strings.HasSuffix(path, metricsEnding) || filepath.Base(path) == metricsEnding:
		return "does not end in " + metricsEnding + ", and node_exporter reads no other file"
	}
	return ""
}
