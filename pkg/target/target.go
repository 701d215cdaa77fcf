// Package target owns what jit asks of a place where access can be opened: the
// [Driver] that opens, ends, checks and lists it, and the words in which a
// driver refuses. Each driver has a folder of its own below this one; package
// builtin knows them all, and package conformance is the suite that each of
// them passes against the real thing.
//
// It imports no driver, and nothing of records, policy, ledger or git: a driver
// is told what to do by values, and trusts that what it is told was verified.
package target

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// Grant is one entitlement (a resource and a role) of one person for a while.
type Grant struct {
	// ID is unique over the life of a store: the request's ULID, a hyphen, and
	// the place of this grant in the request's bundle.
	ID       string
	Resource string
	// Role is the policy's name of the role. What it means to the driver stands
	// in Params, from the signed policy.
	Role   string
	Params map[string]string
	Person string
	// Account is who the person is on this target, from the signed policy.
	// Empty means Person.
	Account string
	// Opens and Ends are in UTC; access may be used from Opens until Ends.
	Opens, Ends time.Time
	// Standing says that the access was there before jit opened it, as Check
	// saw (Observation.Foreign) before the first Grant. It is set by the caller
	// for Check and Revoke, and such access is left.
	Standing bool
	// Identity is what Check saw last of this grant (Observation.Identity); empty where
	// the caller knows none. It is set by the caller for Check and Revoke.
	Identity string `json:",omitempty"`
}

// Who is the person's account on the target: Account, or Person where it is
// empty.
func (g Grant) Who() string {
	if g.Account != "" {
		return g.Account
	}
	return g.Person
}

var grantID = regexp.MustCompile(`^[0-9A-Z]{26}-[0-9]{1,9}$`)

// CheckID refuses a grant id that is not of the form that [Grant] describes.
// Drivers write ids into files and comments, and rely on it.
func CheckID(id string) error {
	if !grantID.MatchString(id) {
		return &Error{Reason: BadGrant, Detail: fmt.Sprintf("grant id %q is not a request's id, a hyphen and a number", id)}
	}
	return nil
}

// Observation is what Check sees.
type Observation struct {
	// Present: the access that this grant gives can be used now, by whatever
	// means it is there.
	Present bool
	// Foreign: the access is there by other means than jit's grants (this one
	// and those that were passed as remaining).
	Foreign bool
	// Detail says in words what was seen where it needs saying.
	Detail string
	// Identity tells, in the driver's own words, what the names of this grant stand for at
	// the target now, so that what it gave is found again when names change. Empty where
	// the driver needs none.
	Identity string
	// Astray names, in words, what this grant gave and is now under other names than the
	// grant's. Revoke takes it.
	Astray []string
}

// Ending is how access ended.
type Ending struct {
	// SessionsEnded counts the live sessions that were closed.
	SessionsEnded int
	// Left names, in words, what could not be ended or could not be checked.
	// Empty means that the access has fully ended, or lives on rightly: by
	// another open grant, or as standing access.
	Left []string
	// Standing: access remains because it was there before jit.
	Standing bool
	// Others are the ids of grants that were not passed as remaining, and whose traces
	// still let the same in. The caller knows which of them it is about to end.
	Others []string `json:",omitempty"`
	// Astray names, in words, what was taken under other names than the grant's.
	Astray []string `json:",omitempty"`
}

// Listed is a trace of jit's own on a target.
type Listed struct {
	GrantID string
	Account string
	// Ends is zero where the target does not keep it.
	Ends   time.Time
	Detail string
}

// Driver opens and ends access to one resource. Its verbs are idempotent by
// Grant.ID, and a verb that was killed midway is made good by the next call.
// The methods may be called from several goroutines, and other processes may
// work on the same target with the same driver.
//
// remaining holds the other grants of jit that are open on the same resource.
// Access that they rest on stays, and so do sessions that they allow.
//
// Errors hold an [*Error] or a [*ParamError]. No error, log line or
// Observation ever holds a secret.
type Driver interface {
	// Describe says what the driver does and takes. It does not connect.
	Describe() Description
	// Validate judges a role's parameters, and the account where it is not
	// empty, without connecting. Errors are of type [*ParamError].
	Validate(params map[string]string, account string) error
	// Grant opens access, and sets the end at the target too where that can
	// expire by itself. A grant that is open already is left as it is.
	Grant(ctx context.Context, g Grant) error
	// Revoke ends access and the live sessions that use it, and looks whether
	// it is gone. Access that is gone already is no error.
	Revoke(ctx context.Context, g Grant, remaining []Grant) (Ending, error)
	// Check looks, and changes nothing.
	Check(ctx context.Context, g Grant, remaining []Grant) (Observation, error)
	// List returns jit's own traces where they carry a grant's id.
	List(ctx context.Context) ([]Listed, error)
	// Ping says whether the target can be reached and the privileges suffice.
	Ping(ctx context.Context) error
	// Close releases what the driver holds. It ends no access.
	Close() error
}

// Auditor is a driver of a target that tells what jit gave, but not by which grant.
type Auditor interface {
	// Unaccounted lists what jit gave at the target and none of open gives, as far as it is
	// of the roles of open and known. Of known only Params and Identity are read. GrantID
	// is of a grant in open that gave it under other names, or empty.
	Unaccounted(ctx context.Context, open, known []Grant) ([]Listed, error)
}

// Config is how a driver is made for one resource.
type Config struct {
	Resource string
	// Settings say how to reach the target. They come from the reconciler's
	// own configuration, never from the store.
	Settings map[string]string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is for what an operator may want to know; nil discards it.
	Log *slog.Logger
}

// WithDefaults fills in the clock and the log where they are nil.
func (c Config) WithDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Constructor makes a driver. It judges the settings and refuses unknown ones
// by name, but does not connect.
type Constructor func(ctx context.Context, c Config) (Driver, error)

// Kind is a driver before it is told about a target: enough to judge a policy
// that uses it.
type Kind struct {
	Description Description
	// Validate judges a role's parameters, and the account where it is not
	// empty. Errors are of type [*ParamError].
	Validate func(params map[string]string, account string) error
	New      Constructor
	// Place says where a role is written and as whom it lets people in, for drivers
	// that write into one place whatever lets in there; else it is nil.
	Place func(settings, params map[string]string) (place, account string)
}

// Description is what a person is told about a driver.
type Description struct {
	Name string
	// Summary is one sentence.
	Summary string
	// Params are a role's parameters in the policy; Settings the ones of the
	// reconciler's configuration.
	Params, Settings []Parameter
	// Account says what the policy's accounts entry for this driver holds.
	Account string
	// Backstop says what the target ends by itself, even if jit never runs
	// again; empty where it ends nothing.
	Backstop string
	// EndsSessions says which live sessions end with the access.
	EndsSessions string
}

// Parameter is a name that a driver knows, in a policy or in a configuration.
type Parameter struct {
	Name     string
	Required bool
	// Secret: the value, or the file that it names, is not for others' eyes.
	Secret bool
	Doc    string
}
