package reconcile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/target"
)

func TestTargetThatFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(f *fakeTarget)
		mend  func(f *fakeTarget)
		say   string
	}{
		{"refuses", func(f *fakeTarget) {
			f.fail["grant"] = &target.Error{Reason: target.Refused, Detail: "not this one", Hint: "ask for another"}
		},
			func(f *fakeTarget) { delete(f.fail, "grant") }, "not this one; ask for another"},
		{"cannot be looked at", func(f *fakeTarget) { f.fail["check"] = errTest }, func(f *fakeTarget) { delete(f.fail, "check") }, errTest.Error()},
		{"panics", func(f *fakeTarget) { f.fail["grant"] = errors.New("panic") }, func(f *fakeTarget) { delete(f.fail, "grant") }, "broke down"},
		{"lies", func(f *fakeTarget) { f.deaf = true }, func(f *fakeTarget) { f.deaf = false }, "yet the access is not there"},
		{"speaks to the terminal", func(f *fakeTarget) {
			f.fail["grant"] = errors.New("\x1b[31m\u202eevil\x00\n" + strings.Repeat("x", 1<<20))
		},
			func(f *fakeTarget) { delete(f.fail, "grant") }, "?[31m?evil?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.spoil(w.targets["db"])
			r := w.store.Granted("bob", time.Hour, "db:read", "web:read")
			res := w.run(6)
			if res.Failed != 1 || res.Opened != 1 {
				t.Fatalf("%+v", res)
			}
			if !w.targets["web"].has("bob", "readers") {
				t.Fatal("the other target had to suffer")
			}
			text := strings.Join(w.lines, "\n")
			if !strings.Contains(text, "failed to open db:read for bob") || !strings.Contains(text, c.say) || len(text) > 2*maxLine {
				t.Errorf("said %q", text)
			}
			w.run(6) // the same again: no other receipt
			w.wantReceipts(r.ID, "failed db:read", "applied web:read")
			c.mend(w.targets["db"])
			w.run(0)
			w.wantReceipts(r.ID, "failed db:read", "applied web:read", "applied db:read")
			w.wantAccess("bob", "readers", true)

			// It fails again when it ends: one more receipt, and it is tried
			// until it succeeds.
			w.targets["db"].fail["revoke"] = errTest
			w.at(time.Hour)
			w.run(6)
			w.run(6)
			w.wantAccess("bob", "readers", true)
			delete(w.targets["db"].fail, "revoke")
			w.run(0)
			w.wantAccess("bob", "readers", false)
			w.wantReceipts(r.ID, "failed db:read", "applied web:read", "applied db:read", "failed db:read", "ended web:read expired", "ended db:read expired")
		})
	}
}

func TestHangingTargetDelaysNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := w.o.Config.Targets["db"]
	db.Timeout.Duration = 50 * time.Millisecond
	w.o.Config.Targets["db"] = db
	w.store.Granted("bob", time.Hour, "db:read", "web:read")
	w.store.Granted("carol", time.Hour, "db:read", "web:read")
	w.run(0)
	w.targets["db"].hang["revoke"] = true
	w.at(time.Hour)
	res := w.run(6)
	if res.Ended != 2 || res.Failed != 2 {
		t.Fatalf("%+v", res)
	}
	if n := w.targets["db"].count("revoke"); n != 1 {
		t.Errorf("a target that hangs was asked %d times in one run", n)
	}
	if w.targets["web"].has("bob", "readers") {
		t.Error("the other target waits")
	}
	if !strings.Contains(strings.Join(w.lines, "\n"), `no answer from "db" within 50ms`) {
		t.Errorf("said %q", w.lines)
	}
	w.targets["db"].hang["revoke"] = false
	w.run(0)
	w.wantAccess("carol", "readers", false)
}

func TestBadConfigurationOfOneTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read", "web:read")
	w.run(0)
	w.o.Config.Targets["web"] = TargetConfig{Settings: map[string]string{"bad": "yes"}}
	w.at(time.Hour)
	if res := w.run(6); res.Ended != 1 || res.Failed != 1 {
		t.Fatalf("%+v", res)
	}
	w.wantAccess("bob", "readers", false)
	delete(w.o.Config.Targets, "web")
	w.run(6)
	if !strings.Contains(strings.Join(w.lines, "\n"), "not in the configuration") {
		t.Errorf("said %q", w.lines)
	}
	w.o.Config.Targets["web"] = TargetConfig{}
	w.run(0)
	if w.targets["web"].has("bob", "readers") {
		t.Error("never ended")
	}
}

func TestParametersAreJudgedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(func(b *policy.Body) {
		b.Resources["db"].Roles["odd"] = policy.Role{Parameters: map[string]string{"unheard": "of"}}
	})
	r := w.store.Granted("bob", time.Hour, "db:odd")
	w.run(6)
	w.wantReceipts(r.ID, "failed db:odd")
	if n := w.targets["db"].count("grant") + w.targets["db"].count("check"); n > 0 {
		t.Errorf("the target was asked %d times", n)
	}
	w.at(time.Hour)
	w.run(0)
	w.want()
}
