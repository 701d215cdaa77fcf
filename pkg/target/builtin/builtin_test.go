package builtin_test

import (
	"errors"
	"testing"

	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

func TestDriversKnowTheirNames(t *testing.T) {
	for name, kind := range builtin.Drivers() {
		if d := kind.Description; d.Name != name || d.Summary == "" || d.Account == "" || d.EndsSessions == "" {
			t.Errorf("%s describes itself as %+v", name, d)
		}
		if _, err := kind.New(t.Context(), target.Config{Settings: map[string]string{"nonsense": "x"}}); target.ReasonOf(err) != target.BadSetting {
			t.Errorf("%s takes an unknown setting: %v", name, err)
		}
	}
}

func TestValidateRole(t *testing.T) {
	if err := builtin.ValidateRole("postgres", map[string]string{"grant": "readers"}); err != nil {
		t.Error(err)
	}
	if err := builtin.ValidateRole("postgers", nil); !errors.Is(err, target.ErrNotFound) || target.HintOf(err) != "known are authorized-keys, postgres" {
		t.Errorf("an unknown driver: %v, %q", err, target.HintOf(err))
	}
	err := builtin.ValidateAccess("authorized-keys", map[string]string{"account": "deploy"}, "alice")
	if p, ok := errors.AsType[*target.ParamError](err); !ok || p.Param != target.ParamAccount {
		t.Errorf("a name in place of a key: %v", err)
	}
}
