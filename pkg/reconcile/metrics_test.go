package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/target"
)

// scrape reads the text format as strictly as its page has it, and gives the values by
// name and labels. https://prometheus.io/docs/instrumenting/exposition_formats/
func scrape(t *testing.T, text string) map[string]float64 {
	t.Helper()
	help := regexp.MustCompile(`^# HELP ([a-z_]+) (\S.*)$`)
	kind := regexp.MustCompile(`^# TYPE ([a-z_]+) (gauge|counter)$`)
	line := regexp.MustCompile(`^([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)$`)
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line is not ended")
	}
	values, seen, now, told := map[string]float64{}, map[string]bool{}, "", ""
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if m := help.FindStringSubmatch(l); m != nil {
			if seen[m[1]] {
				t.Errorf("%s comes in two places", m[1])
			}
			seen[m[1]], told = true, m[1]
			continue
		}
		if m := kind.FindStringSubmatch(l); m != nil {
			if m[1] != told || (m[2] == "counter") != strings.HasSuffix(m[1], "_total") {
				t.Errorf("out of place, or named otherwise than its type: %s", l)
			}
			now = m[1]
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil || m[1] != now || strings.HasSuffix(m[2], ",") {
			t.Errorf("not of the format, or under another's head: %q", l)
			continue
		}
		v, err := strconv.ParseFloat(m[3], 64)
		id := m[1] + "{" + strings.TrimPrefix(strings.TrimPrefix(m[2], `reconciler="db1"`), ",") + "}"
		if _, twice := values[id]; err != nil || twice {
			t.Errorf("no number, or twice: %q", l)
		}
		values[id] = v
	}
	return values
}

// metrics gives what the last run has written.
func (w *world) metrics() (map[string]float64, string) {
	w.t.Helper()
	data, err := os.ReadFile(w.o.Config.Metrics)
	if err != nil {
		w.t.Fatal(err)
	}
	return scrape(w.t, string(data)), string(data)
}

func (w *world) wantMetrics(want map[string]float64) {
	w.t.Helper()
	got, text := w.metrics()
	for id, v := range want {
		if have, ok := got[id]; !ok || have != v {
			w.t.Errorf("%s is %v (%v), want %v", id, have, ok, v)
		}
	}
	if w.t.Failed() {
		w.t.Fatal(text)
	}
}

func measuredWorld(t *testing.T) *world {
	w := newWorld(t)
	w.o.Config.Metrics = filepath.Join(t.TempDir(), "jit.prom")
	w.o.Version = "1.2.3"
	return w
}

// TestMetrics: what an operator must hear of is in them, run by run.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := measuredWorld(t)
	w.store.ChangePolicy(func(b *policy.Body) {
		emergencies(b)
		web := b.Resources["web"]
		web.Freshness = lasting(60)
		b.Resources["web"] = web
	})
	emergency(w)
	w.store.Granted("carol", minutes(30), "db:write")
	w.store.Granted("carol", minutes(30), "web:read")
	w.run(6)
	unix := func(at time.Duration) float64 { return float64(start.Add(at).Unix()) }
	w.wantMetrics(map[string]float64{
		`jit_build_info{version="1.2.3"}`:                1,
		`jit_reconcile_last_run_timestamp_seconds{}`:     unix(0),
		`jit_reconcile_last_success_timestamp_seconds{}`: 0,
		`jit_reconcile_last_run_duration_seconds{}`:      0, // the clock of the test stands
		`jit_reconcile_last_run_exit_code{}`:             6,
		`jit_reconcile_runs_total{exit_code="6"}`:        1,
		`jit_reconcile_problems{}`:                       0,
		`jit_reconcile_openings_closed{}`:                0,
		`jit_reconcile_next_ending_timestamp_seconds{}`:  unix(minutes(30)),
		`jit_reconcile_receipts_owed{}`:                  0,
		`jit_grants_open{resource="db"}`:                 2,
		`jit_grants_open{resource="web"}`:                0,
		`jit_endings_overdue{resource="db"}`:             0,
		`jit_grants_withheld{resource="web"}`:            1,
		`jit_grants_withheld{resource="db"}`:             0,
		`jit_grants_opened_total{resource="db"}`:         2,
		`jit_grants_ended_total{resource="db"}`:          0,
		`jit_evidence_timestamp_seconds{resource="web"}`: 0,
		`jit_evidence_limit_seconds{resource="web"}`:     3600,
		`jit_emergencies_unacknowledged{resource="db"}`:  1,
		`jit_emergencies_unacknowledged{resource="web"}`: 0,
		`jit_emergencies_overdue{resource="db"}`:         0,
		`jit_store_synced{}`:                             1,
		`jit_store_last_fetch_timestamp_seconds{}`:       unix(0),
		`jit_store_records_set_aside{}`:                  0,
		`jit_store_submissions_waiting{}`:                0,
		`jit_store_submissions_refused{}`:                0,
	})
	// All that is described is there but what nothing has been said of: no other has
	// a label more, and none is a person.
	got, text := w.metrics()
	names := map[string]bool{}
	for id := range got {
		name, _, _ := strings.Cut(id, "{")
		names[name] = true
	}
	for _, m := range Metrics() {
		if !names[m.Name] {
			t.Errorf("%s is not written", m.Name)
		}
		delete(names, m.Name)
	}
	if len(names) > 0 {
		t.Errorf("%v are not described", slices.Sorted(maps.Keys(names)))
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		if strings.Contains(text, name) {
			t.Errorf("%s is named", name)
		}
	}

	// An ending fails, something unknown lies about, and the store is away.
	if err := os.Rename(w.store.URL, w.store.URL+".away"); err != nil {
		t.Fatal(err)
	}
	w.at(minutes(31))
	w.targets["db"].fail["revoke"] = errTest
	w.targets["db"].traces["stray"] = target.Grant{ID: "stray", Account: "x"}
	w.run(6)
	w.wantMetrics(map[string]float64{
		`jit_reconcile_last_run_timestamp_seconds{}`: unix(minutes(31)),
		`jit_reconcile_runs_total{exit_code="6"}`:    2,
		`jit_reconcile_openings_closed{}`:            1,
		`jit_reconcile_receipts_owed{}`:              0,
		`jit_grants_open{resource="db"}`:             2,
		`jit_endings_overdue{resource="db"}`:         1,
		`jit_endings_overdue{resource="web"}`:        0,
		`jit_failures{resource="db"}`:                1,
		`jit_failures_total{resource="db"}`:          1,
		`jit_store_synced{}`:                         0,
		`jit_store_last_fetch_timestamp_seconds{}`:   unix(0),
		`jit_store_submissions_waiting{}`:            1,
	})
	if err := os.Rename(w.store.URL+".away", w.store.URL); err != nil {
		t.Fatal(err)
	}
	delete(w.targets["db"].fail, "revoke")
	w.at(minutes(24*60 + 1))
	w.run(0)
	w.wantMetrics(map[string]float64{
		`jit_reconcile_last_success_timestamp_seconds{}`: unix(minutes(24*60 + 1)),
		`jit_reconcile_runs_total{exit_code="0"}`:        1,
		`jit_reconcile_next_ending_timestamp_seconds{}`:  0,
		`jit_grants_open{resource="db"}`:                 0,
		`jit_endings_overdue{resource="db"}`:             0,
		`jit_failures{resource="db"}`:                    0,
		`jit_failures_total{resource="db"}`:              1,
		`jit_grants_ended_total{resource="db"}`:          2,
		`jit_drift{resource="db"}`:                       1,
		`jit_emergencies_overdue{resource="db"}`:         1,
		`jit_store_submissions_waiting{}`:                0,
	})

	// A dry run writes none; a run that finds another under way neither.
	w.o.Config.Metrics += ".prom"
	w.o.DryRun = true
	w.run(0)
	if _, err := os.Stat(w.o.Config.Metrics); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run has written metrics: %v", err)
	}
}

// TestMetricsAreNoPartOfTheWork: where they cannot be written, all else is as ever, and
// the run says so.
func TestMetricsAreNoPartOfTheWork(t *testing.T) {
	t.Parallel()
	w := measuredWorld(t)
	w.o.Config.Metrics = filepath.Join(t.TempDir(), "none", "jit.prom")
	w.store.Granted("bob", time.Hour, "db:read")
	res := w.run(0)
	w.wantAccess("bob", "readers", true)
	if len(res.Warnings) != 1 || !errors.Is(res.Warnings[0], os.ErrNotExist) {
		t.Errorf("warnings %v", res.Warnings)
	}
	// Counters that cannot be read begin again.
	kept := filepath.Join(w.o.Config.State, talliesName)
	for _, text := range []string{"{", `{"runs":{"0":-1}}`, `{"more":1}`, strings.Repeat(" ", maxTallies+1)} {
		if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readTallies(kept); err == nil || len(got.Runs) > 0 {
			t.Errorf("%.20q: %+v, %v", text, got, err)
		}
	}
	w.o.Config.Metrics = filepath.Join(t.TempDir(), "jit.prom")
	w.at(time.Hour)
	if res = w.run(0); len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].Error(), "the counters begin again") {
		t.Errorf("warnings %v", res.Warnings)
	}
	w.wantMetrics(map[string]float64{`jit_reconcile_runs_total{exit_code="0"}`: 1, `jit_grants_ended_total{resource="db"}`: 1})
	if res = w.run(0); len(res.Warnings) > 0 {
		t.Error(res.Warnings)
	}
	w.wantMetrics(map[string]float64{`jit_reconcile_runs_total{exit_code="0"}`: 2})
}

// TestMetricsOnADiskThatHangs: the run waits for a while, the next one not at all.
func TestMetricsOnADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMetricsWriter()
		answers := make(chan struct{})
		w.put = func(string, []byte) error { <-answers; return nil }
		began := time.Now()
		if err := w.write("x.prom", nil); !errors.Is(err, errMetricsHang) {
			t.Error(err)
		}
		if took := time.Since(began); took != metricsPatience {
			t.Errorf("waited for %s", took)
		}
		if err := w.write("x.prom", nil); !errors.Is(err, errMetricsHang) {
			t.Error(err)
		}
		if took := time.Since(began); took != metricsPatience {
			t.Errorf("waited again, for %s", took)
		}
		close(answers)
		synctest.Wait()
		if err := w.write("x.prom", nil); err != nil {
			t.Error(err)
		}
	})
}

// TestMetricsFile: others may read it, it is there whole or not at all, and no link that
// lies in its way is followed.
func TestMetricsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "jit.prom")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{path, path + ".new"} {
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"one\n", "two\n"} {
		if err := putMetrics(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, statErr := os.Lstat(path)
		if err != nil || statErr != nil || string(got) != text || info.Mode() != metricsMode {
			t.Errorf("%q, %v, %v %v", got, info.Mode(), err, statErr)
		}
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("a link was followed: %q, %v", got, err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
	// What cannot be put into place leaves nothing behind.
	folder := filepath.Join(dir, "folder.prom")
	if err := os.MkdirAll(filepath.Join(folder, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := putMetrics(folder, nil); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(folder + ".new"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestMetricsText: names of any kind come through whole, and the descriptions follow the
// rules of the format.
func TestMetricsText(t *testing.T) {
	t.Parallel()
	m := readings{}
	odd := []string{`a"b`, `a\b`, "a\nb", `a\nb`, "\xff", "ü", `x"} 1` + "\n"}
	for i, name := range odd {
		m.add(metricOpen, float64(i), name)
	}
	m.add(metricRun, 1795513445)
	got := scrape(t, m.text("db1"))
	for i, escaped := range []string{`a\"b`, `a\\b`, `a\nb`, `a\\nb`, "\uFFFD", "ü", `x\"} 1\n`} {
		if v, ok := got[fmt.Sprintf(`jit_grants_open{resource="%s"}`, escaped)]; !ok || v != float64(i) {
			t.Errorf("%q became another: %v", odd[i], got)
		}
	}
	if len(got) != len(odd)+1 || got[`jit_reconcile_last_run_timestamp_seconds{}`] != 1795513445 {
		t.Errorf("%v", got)
	}
	name := regexp.MustCompile(`^jit_[a-z]+(_[a-z]+)*$`)
	for _, m := range Metrics() {
		if !name.MatchString(m.Name) || (m.Type == Counter) != strings.HasSuffix(m.Name, "_total") || !strings.HasSuffix(m.Help, ".") || strings.ContainsAny(m.Help, "\n\\") {
			t.Errorf("%+v", m)
		}
		for _, l := range m.Labels {
			if !slices.Contains([]string{"resource", "exit_code", "version"}, l) {
				t.Errorf("%s has the label %s", m.Name, l)
			}
		}
	}
}
