package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MetricType is a type of the Prometheus text format.
type MetricType string

// The types that a reconciler has.
const (
	Gauge   MetricType = "gauge"
	Counter MetricType = "counter"
)

// Metric describes one of the metrics that a reconciler writes.
type Metric struct {
	Name string
	Type MetricType
	// Help is one line of plain text.
	Help string
	// Labels are the names of the labels beside reconciler, which each metric has: two
	// reconcilers of one machine may write into the same folder. No label is ever a
	// person: what node_exporter shows is read by many, and kept.
	Labels []string
}

// The metrics, in the order in which they are written. Times are given as times and not
// as ages, which a file that is not written any more would keep young.
var (
	metricInfo        = Metric{"jit_build_info", Gauge, "The version of jit that made the last run; always 1.", []string{"version"}}
	metricRun         = Metric{"jit_reconcile_last_run_timestamp_seconds", Gauge, "When the last run came to its end, by the wall clock.", nil}
	metricSuccess     = Metric{"jit_reconcile_last_success_timestamp_seconds", Gauge, "When the last run with exit code 0 came to its end; 0 where none has.", nil}
	metricDuration    = Metric{"jit_reconcile_last_run_duration_seconds", Gauge, "How long the last run took.", nil}
	metricExit        = Metric{"jit_reconcile_last_run_exit_code", Gauge, "The exit code of the last run.", nil}
	metricRuns        = Metric{"jit_reconcile_runs_total", Counter, "Runs, by exit code.", []string{"exit_code"}}
	metricProblems    = Metric{"jit_reconcile_problems", Gauge, "What kept the last run from a part of its work, besides failures of targets.", nil}
	metricClosed      = Metric{"jit_reconcile_openings_closed", Gauge, "1 where the last run would have opened nothing, whatever was approved; else 0.", nil}
	metricNext        = Metric{"jit_reconcile_next_ending_timestamp_seconds", Gauge, "When the next ending is due, of a window or of a lease; 0 where nothing is open.", nil}
	metricOwed        = Metric{"jit_reconcile_receipts_owed", Gauge, "Receipts that could not be signed or handed over yet.", nil}
	metricOpen        = Metric{"jit_grants_open", Gauge, "Grants that are open, or may be.", []string{"resource"}}
	metricOverdue     = Metric{"jit_endings_overdue", Gauge, "Grants that should have ended and may be open all the same.", []string{"resource"}}
	metricIncomplete  = Metric{"jit_endings_incomplete", Gauge, "Grants that the last run ended, but for something that it had to leave.", []string{"resource"}}
	metricFailures    = Metric{"jit_failures", Gauge, "Changes that failed in the last run.", []string{"resource"}}
	metricWithheld    = Metric{"jit_grants_withheld", Gauge, "Grants that did not open in the last run for want of evidence that the store is the true one.", []string{"resource"}}
	metricDrift       = Metric{"jit_drift", Gauge, "What the last run found on the target that should not be there, or is not jit's.", []string{"resource"}}
	metricOpened      = Metric{"jit_grants_opened_total", Counter, "Grants that were opened or restored.", []string{"resource"}}
	metricEnded       = Metric{"jit_grants_ended_total", Counter, "Grants that were ended.", []string{"resource"}}
	metricFailed      = Metric{"jit_failures_total", Counter, "Changes that failed.", []string{"resource"}}
	metricEvidence    = Metric{"jit_evidence_timestamp_seconds", Gauge, "Of when the newest evidence is that the store is the true one, where the policy asks for it; 0 where there is none.", []string{"resource"}}
	metricLimit       = Metric{"jit_evidence_limit_seconds", Gauge, "How old that evidence may be.", []string{"resource"}}
	metricEmergencies = Metric{"jit_emergencies_unacknowledged", Gauge, "Emergencies that nobody has acknowledged.", []string{"resource"}}
	metricDebts       = Metric{"jit_emergencies_overdue", Gauge, "Emergencies that nobody has acknowledged in time.", []string{"resource"}}
	metricSynced      = Metric{"jit_store_synced", Gauge, "1 where the last run has read the store, and it is the true one as far as can be seen; else 0.", nil}
	metricFetched     = Metric{"jit_store_last_fetch_timestamp_seconds", Gauge, "When the store was read last; 0 where it never was.", nil}
	metricSetAside    = Metric{"jit_store_records_set_aside", Gauge, "Records and changes of the store that do not count.", nil}
	metricWaiting     = Metric{"jit_store_submissions_waiting", Gauge, "What is signed and waits in the spool to be sent.", nil}
	metricRefused     = Metric{"jit_store_submissions_refused", Gauge, "What waited in the spool and the store would not count any more.", nil}
)

var metrics = []Metric{
	metricInfo, metricRun, metricSuccess, metricDuration, metricExit, metricRuns, metricProblems, metricClosed, metricNext, metricOwed,
	metricOpen, metricOverdue, metricIncomplete, metricFailures, metricWithheld, metricDrift, metricOpened, metricEnded, metricFailed,
	metricEvidence, metricLimit, metricEmergencies, metricDebts,
	metricSynced, metricFetched, metricSetAside, metricWaiting, metricRefused,
}

// Metrics gives what a reconciler may write, in its order. What a run could not learn,
// and what does not apply, is not in the file.
func Metrics() []Metric { return slices.Clone(metrics) }

// sample is one value of a metric, with the values of its labels.
type sample struct {
	labels []string
	value  float64
}

// readings are the samples, by the name of their metric.
type readings map[string][]sample

func (r readings) add(m Metric, value float64, labels ...string) {
	r[m.Name] = append(r[m.Name], sample{labels, value})
}

// text gives readings in the Prometheus text format, version 0.0.4:
// https://prometheus.io/docs/instrumenting/exposition_formats/
func (r readings) text(reconciler string) string {
	var b strings.Builder
	for _, m := range metrics {
		if len(r[m.Name]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", m.Name, escapeHelp.Replace(m.Help), m.Type)
		for _, s := range r[m.Name] {
			fmt.Fprintf(&b, `%s{reconciler="%s"`, m.Name, escapeLabel(reconciler))
			for i, name := range m.Labels {
				fmt.Fprintf(&b, `,%s="%s"`, name, escapeLabel(s.labels[i]))
			}
			fmt.Fprintf(&b, "} %s\n", strconv.FormatFloat(s.value, 'f', -1, 64))
		}
	}
	return b.String()
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// escapeLabel makes any text the value of a label, which must be UTF-8: one that is not
// would have the whole file refused.
func escapeLabel(s string) string {
	return labelEscape.Replace(strings.ToValidUTF8(s, "\uFFFD"))
}
