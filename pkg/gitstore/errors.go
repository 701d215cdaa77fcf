package gitstore

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The causes that a caller tells apart with [errors.Is].
var (
	// ErrUnreachable means that the remote could not be asked: no network, no
	// such repository, no answer within the time allowed, access denied.
	// Nothing is known about its state, and nothing was changed here.
	ErrUnreachable = errors.New("store unreachable")
	// ErrAuth means that the remote does not let this user in. It is always
	// ErrUnreachable too.
	ErrAuth = errors.New("access denied by the remote")
	// ErrHostKey means that the server's host key is unknown or is not the one
	// expected. It is always ErrUnreachable too.
	ErrHostKey = errors.New("host key verification failed")
	// ErrNotOurs means that the remote is a folder on this machine in which others may
	// put programs that git would run: it is not asked by a store that is isolated. It is
	// always ErrUnreachable too.
	ErrNotOurs = errors.New("others may change the store's folder")
	// ErrBadRemote means that the remote answered, but not with a usable git
	// repository: garbage, a truncated or oversized pack, a shallow history, a
	// redirect to another host.
	ErrBadRemote = errors.New("remote sent something unusable")
	// ErrMirror means that the mirror could not be written or read, for a cause that is this
	// machine's. What else an error is, that a program said, was then guessed wrongly.
	ErrMirror = errors.New("the copy of the store could not be used")
	// ErrIncomplete means that a history lacks a commit, a folder or a file that it
	// needs. With ErrBadRemote it is what the remote has sent, and nothing of it was
	// taken; alone it is the mirror, see [Store.Mend].
	ErrIncomplete = errors.New("the history is incomplete")
	// ErrEmpty means that the branch does not exist on the remote.
	ErrEmpty = errors.New("store is empty")
	// ErrNotEmpty means that a store was to be made where there is one.
	ErrNotEmpty = errors.New("remote is not empty")
	// ErrExists means that something that counts stands where a file is to be
	// appended.
	ErrExists = errors.New("path holds other bytes already")
	// ErrRefused means that the server refused the push, with a reason of its
	// own (a hook, a protected branch, a full disk); see [RefusedError].
	ErrRefused = errors.New("push refused by the server")
	// ErrLocked means that a lock file in the remote's repository stood in the way of every
	// try, and nobody's push got through meanwhile: a git that was killed may have left
	// it. It is always ErrRefused too. A lock is never taken away here: from outside it is
	// not told from one that is held.
	ErrLocked = errors.New("locked by a file in the remote's repository")
	// ErrContention means that others were faster in every one of the tries.
	ErrContention = errors.New("too many lost races")
	// ErrRewritten means that the remote's head does not extend the checkpoint.
	ErrRewritten = errors.New("history was rewritten")
	// ErrMoved means that the remote's branch is not (any more) where a heal or a
	// repair was made for.
	ErrMoved = errors.New("the remote's branch has moved")
	// ErrUnsigned means that a commit is not signed, or not in the form in which
	// jit signs.
	ErrUnsigned = errors.New("commit is not signed")
	// ErrNotForward means that a checkpoint was to be moved to a commit that
	// does not extend it.
	ErrNotForward = errors.New("checkpoint moves only forward")
	// ErrNotFound means that the mirror does not hold an object.
	ErrNotFound = errors.New("object not in the mirror")
	// ErrTooLarge means that an object is larger than the caller allows.
	ErrTooLarge = errors.New("object too large")
	// ErrCorrupt means that an object's bytes are not what its name or its type
	// says. The mirror can be deleted: it is fetched again.
	ErrCorrupt = errors.New("object is corrupt")
	// ErrOtherURL means that the folder holds the mirror of another remote.
	ErrOtherURL = errors.New("mirror of another remote")
	// ErrBadURL means that the remote's URL is of no allowed form.
	ErrBadURL = errors.New("remote URL not allowed")
	// ErrNoGit is given where the git program is wanted and there is none.
	ErrNoGit = errors.New("there is no git program")
	// ErrRelativePath is given where the first git program on PATH lies in a folder that
	// PATH names by a relative name: whoever may write where jit is started could put one
	// there, so it is not run.
	ErrRelativePath = errors.New("PATH names a relative folder, and the git program that is found there is never run")
	// ErrBadPath means that a path is not one that a store may hold.
	ErrBadPath = errors.New("path not allowed in a store")
)

// errRaced says that the remote's branch is not (any more) where a push
// expected it. It never leaves this package.
var errRaced = errors.New("another writer was faster")

// errUnsure says that the connection broke after a push was sent, so that it
// may have succeeded. It never leaves this package alone.
var errUnsure = errors.New("the push may or may not have arrived")

// RemoteError is a failure to reach or to understand the remote. It is
// ErrUnreachable or ErrBadRemote, and where that is known also ErrAuth,
// ErrHostKey or ErrNotOurs.
type RemoteError struct {
	Op   string // what was tried: "fetch", "push"
	URL  string // without credentials
	Kind []error
	Err  error  // the cause; never nil
	Said string // what the server or the git program said; "" when nothing
}

func (e *RemoteError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Op, e.URL)
	for _, k := range e.Kind {
		if !errors.Is(e.Err, k) { // else the cause says it
			fmt.Fprintf(&b, "%v: ", k)
		}
	}
	fmt.Fprintf(&b, "%v", e.Err)
	if e.Said != "" && !strings.Contains(e.Err.Error(), e.Said) {
		fmt.Fprintf(&b, " (%s)", e.Said)
	}
	return b.String()
}

// Unwrap gives the kinds and the cause.
func (e *RemoteError) Unwrap() []error { return append(append([]error{}, e.Kind...), e.Err) }

// RefusedError is a push that the server refused. It is ErrRefused.
type RefusedError struct {
	URL    string // without credentials
	Reason string // the reference's status: "pre-receive hook declined"
	Said   string // what the server printed beside it; made safe to show
}

func (e *RefusedError) Error() string {
	if e.Said == "" {
		return fmt.Sprintf("push to %s: %v: %s", e.URL, ErrRefused, e.Reason)
	}
	return fmt.Sprintf("push to %s: %v: %s: %s", e.URL, ErrRefused, e.Reason, e.Said)
}

// Is makes a RefusedError ErrRefused, and ErrLocked where git says that of it.
func (e *RefusedError) Is(target error) bool {
	return target == ErrRefused || target == ErrLocked && heldLock.MatchString(e.Reason+" "+e.Said)
}

// heldLock are the words of git about a lock file that is there (lockfile.c).
var heldLock = regexp.MustCompile(`Unable to create '[^']*\.lock': File exists`)

// maxSaid bounds what is kept of a server's talk, in bytes: enough for any
// hook's explanation, too little to flood a log.
const maxSaid = 2048

// plain makes text from a server safe to show on one line: control characters
// (and with them terminal escapes) become spaces, runs of space shrink, and
// what is left is cut to maxSaid bytes.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "?")
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return text
}
