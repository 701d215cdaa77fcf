package postgres_test

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/postgres"
)

// TestSocketOfOthers: where others can put a socket, nobody is asked anything.
func TestSocketOfOthers(t *testing.T) {
	word := filepath.Join(t.TempDir(), "word")
	if err := os.WriteFile(word, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		mine, other = -1, 65534
		likeTmp     = 0o777 | os.ModeSticky
	)
	for name, c := range map[string]struct {
		top, above, mode     os.FileMode
		aboves, owner, group int
		reason               target.Reason // Unreachable: it was asked
	}{
		"closed":                         {0o755, 0o755, 0o755, mine, mine, mine, target.Unreachable},
		"of its own group":               {0o755, 0o755, 0o775 | os.ModeSetgid, mine, mine, mine, target.Unreachable},
		"like /tmp":                      {0o755, 0o755, likeTmp, mine, mine, mine, target.Unsafe},
		"open":                           {0o755, 0o755, 0o757, mine, mine, mine, target.Unsafe},
		"in an open one":                 {0o755, 0o777, 0o755, mine, mine, mine, target.Unsafe},
		"in one like /tmp":               {0o755, likeTmp, 0o755, mine, mine, mine, target.Unreachable},
		"another's, in one like /tmp":    {0o755, likeTmp, 0o755, mine, other, other, target.Unsafe},
		"in another's, in one like /tmp": {likeTmp, 0o755, 0o755, other, other, other, target.Unsafe},
		"below one like /tmp":            {likeTmp, 0o755, 0o755, mine, other, other, target.Unreachable},
		"of another's group":             {0o755, 0o755, 0o775, mine, mine, other, target.Unsafe},
		"of a group of many":             {0o755, 0o755, 0o775, mine, sharer(t), other, target.Unsafe},
		"in the server's":                {0o755, 0o755, 0o755, other, other, mine, target.Unreachable},
		"in another's":                   {0o755, 0o755, 0o755, other, mine, mine, target.Unsafe},
	} {
		t.Run(name, func(t *testing.T) {
			if max(c.owner, c.aboves, c.group) != mine && os.Geteuid() != 0 {
				t.Log("not root: nothing can be given to somebody else here")
				return
			}
			top, err := os.MkdirTemp("/tmp", "jitpg") // a socket's path must be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(top) })
			above := filepath.Join(top, "a")
			dir := filepath.Join(above, "s")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			var asked atomic.Bool
			l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					asked.Store(true)
					_ = conn.Close()
				}
			}()
			t.Cleanup(func() { l.Close() })
			for _, err := range []error{
				os.Chown(dir, c.owner, c.group), os.Chown(above, c.aboves, -1),
				os.Chmod(dir, c.mode), os.Chmod(above, c.above), os.Chmod(top, c.top),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			reason := c.reason
			if name == "of its own group" && !namedAlike(t, dir) {
				reason = target.Unsafe
			}
			for _, settings := range []map[string]string{{"host": dir, "user": "jit"}, {"host": dir, "user": "jit", "password-file": word}} {
				d, err := postgres.New(t.Context(), target.Config{Settings: settings})
				if err != nil {
					t.Fatal(err)
				}
				err = d.Ping(t.Context())
				if target.ReasonOf(err) != reason || asked.Swap(false) != (reason == target.Unreachable) {
					t.Errorf("%v", err)
				}
				if reason == target.Unsafe && target.HintOf(err) == "" {
					t.Error("it is not said what to do")
				}
			}
		})
	}
}

// sharer gives a user other than nobody whose group as a user is nobody's, as many have it.
func sharer(t *testing.T) int {
	t.Helper()
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(users)) {
		fields := strings.Split(line, ":")
		if len(fields) > 3 && fields[3] == "65534" && fields[2] != "65534" {
			uid, err := strconv.Atoi(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			return uid
		}
	}
	return 65533 // nobody there has that group, as far as is known, and this one has none
}

// namedAlike reports whether a folder's owner and group have one name, as Debian makes them.
func namedAlike(t *testing.T, dir string) bool {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	owner, err := user.LookupId(fmt.Sprint(st.Uid))
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(fmt.Sprint(st.Gid))
	return err == nil && owner.Username == group.Name
}

// TestSocketLikeDebian: the folder of the server's user and group, to which both may write.
func TestSocketLikeDebian(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup)
	if err := os.Chmod(s.SocketDir, 0o775|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := open(t, s, "jit").Ping(t.Context()); (err == nil) != namedAlike(t, s.SocketDir) {
		t.Error(err)
	}
	if err := os.Chmod(s.SocketDir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := open(t, s, "jit").Ping(t.Context()); target.ReasonOf(err) != target.Unsafe {
		t.Error(err)
	}
}
