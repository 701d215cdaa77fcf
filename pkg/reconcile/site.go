package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

// site is one target of the configuration during a run. One goroutine at a time
// works on it.
type site struct {
	resource string
	config   TargetConfig
	known    bool // in the configuration
	kinds    map[string]target.Kind
	now      func() time.Time
	log      *slog.Logger

	drivers map[string]target.Driver
	// gone is why the target is left alone for the rest of the run: it did not
	// answer in time, and nobody shall wait for it again.
	gone error
}

// grace is how long a driver may take to return after its time is up.
const grace = time.Second

// ask calls one verb of a driver with the target's timeout. A driver that
// panics fails; one that does not return is left behind, and so is its target.
func ask[T any](ctx context.Context, s *site, verb func(context.Context) (T, error)) (T, error) {
	var none T
	if s.gone != nil {
		return none, s.gone
	}
	type answer struct {
		value T
		err   error
	}
	limited, cancel := context.WithTimeout(ctx, s.config.timeout())
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a.err = &target.Error{Reason: target.Failed, Detail: fmt.Sprintf("the driver broke down: %v", p)}
			}
			answers <- a
		}()
		a.value, a.err = verb(limited)
	}()
	var a answer
	select {
	case a = <-answers:
	case <-limited.Done():
		patience := time.NewTimer(grace)
		defer patience.Stop()
		select {
		case a = <-answers:
		case <-patience.C:
			a.err = limited.Err()
			s.drivers = nil // never closed: a verb of it is still running
		}
	}
	if a.err == nil {
		return a.value, nil
	}
	switch {
	case ctx.Err() != nil:
		s.gone = ctx.Err() // the run itself was interrupted
		return none, s.gone
	case limited.Err() != nil:
		s.gone = &target.Error{
			Reason: target.Unreachable, Detail: fmt.Sprintf("no answer from %q within %s", s.resource, s.config.timeout()), Err: limited.Err(),
			Hint: "see whether it is up; a longer limit is set by: timeout",
		}
		return none, s.gone
	}
	return none, a.err
}

// driver gives the driver of a name for this target, made when first asked for.
func (s *site) driver(ctx context.Context, name string) (target.Driver, error) {
	if !s.known {
		return nil, &target.Error{
			Reason: target.BadSetting, Detail: fmt.Sprintf("resource %q is not in the configuration", s.resource),
			Hint: "put it back under targets until all access to it has ended",
		}
	}
	if d, ok := s.drivers[name]; ok {
		return d, nil
	}
	kind, ok := s.kinds[name]
	if !ok {
		return nil, &target.Error{
			Reason: target.NotFound, Detail: fmt.Sprintf("driver %q is not known", name),
			Hint: "known are " + strings.Join(slices.Sorted(maps.Keys(s.kinds)), ", "),
		}
	}
	d, err := ask(ctx, s, func(ctx context.Context) (target.Driver, error) {
		return kind.New(ctx, target.Config{Resource: s.resource, Settings: maps.Clone(s.config.Settings), Now: s.now, Log: s.log})
	})
	if err != nil {
		return nil, err
	}
	if s.drivers == nil {
		s.drivers = map[string]target.Driver{}
	}
	s.drivers[name] = d
	return d, nil
}

func (s *site) close() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
		errs = append(errs, s.drivers[name].Close())
	}
	s.drivers = nil
	return errors.Join(errs...)
}

// validate judges a grant before anything is touched.
func (s *site) validate(w wish) error {
	kind, ok := s.kinds[w.Driver]
	if !ok {
		return nil // driver says it better
	}
	return kind.Validate(w.Grant.Params, w.Grant.Who())
}
