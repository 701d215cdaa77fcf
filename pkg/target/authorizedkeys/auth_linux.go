package authorizedkeys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sshd tells a session by which key it was opened in a file that SSH_USER_AUTH
// names (sshd_config(5), ExposeAuthInfo). jit reads that variable from the
// processes below the session's sshd, and so sees an honest session's key. A
// person can hide from it, who then still has no new login.
//
// Those processes, their environment, their mounts and the file are the person's
// to shape, and jit is root: nothing here may wait for what a person answers, as
// a file of FUSE does, in whose read not even a killed process ends. So what is
// opened is only what sshd names so, where sshd itself sees it.

// authPath is how sshd names the file: prepare_auth_info_file in its session.c gives
// mkstemp the template /tmp/sshauth. and fifteen X, of which the C library
// replaces six or all.
var authPath = regexp.MustCompile(`^/tmp/(sshauth\.[A-Za-z0-9]{15})$`)

// maxAuth bounds, in bytes, what is read of the file, which holds a line for each key
// and method.
const maxAuth = 64 << 10

var errNotSSHDs = errors.New("this is not the file that sshd has written")

// authName gives the name below /tmp of the file that an environment says sshd has
// written; empty where it names none, or one that is not sshd's.
func authName(environ []byte) string {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if path, ok := bytes.CutPrefix(v, []byte("SSH_USER_AUTH=")); ok {
			if name := authPath.FindSubmatch(path); name != nil {
				return string(name[1])
			}
			return ""
		}
	}
	return ""
}

// keysOf reads by which keys ("type base64") a session was opened from the file that
// sshd has written; none where it cannot be seen. tmp is where sshd sees /tmp.
func keysOf(tmp int, name string, uid int) []string {
	data, err := readAuth(tmp, name, uid)
	if err != nil {
		return nil
	}
	var keys []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "publickey" {
			keys = append(keys, f[1]+" "+f[2])
		}
	}
	return keys
}

// readAuth reads a small regular file of the account's in the folder tmp. It is looked at
// before it is opened, and opened without waiting for whoever holds a lease on it.
func readAuth(tmp int, name string, uid int) ([]byte, error) {
	fd, err := unix.Openat(tmp, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	// fusermount lets anybody mount over a file of their own, for all to see. Even the
	// owner of such a file is what a person answers, so the mount comes first.
	if over, err := mounted(tmp, fd); err != nil || over {
		return nil, errors.Join(errNotSSHDs, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != uid || st.Size <= 0 || st.Size > maxAuth {
		return nil, errNotSSHDs
	}
	h, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return copyMapped(h, int(st.Size))
}

// mounted reports whether something is mounted over the file in the folder. The kernel
// answers it without asking the file system (proc(5), fdinfo).
func mounted(folder, file int) (bool, error) {
	var ids [2]string
	for i, fd := range []int{folder, file} {
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		if err != nil {
			return false, err
		}
		_, after, ok := strings.Cut(string(info), "mnt_id:")
		if !ok {
			return false, errors.New("the kernel does not say on which mount a file lies")
		}
		ids[i], _, _ = strings.Cut(after, "\n")
	}
	return ids[0] != ids[1], nil
}

// copyMapped gives a file's bytes by way of a mapping. A read may wait for a lock of the
// file (XFS) that a person's write holds for as long as the page it writes from is not
// answered. The kernel copies them through a pipe: to a file that becomes shorter
// meanwhile it says EFAULT, where jit itself would get a signal.
func copyMapped(h *os.File, size int) ([]byte, error) {
	mapped, err := unix.Mmap(int(h.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Munmap(mapped) }()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	data := make([]byte, 0, size)
	for len(data) < size {
		n, err := w.Write(mapped[len(data):min(size, len(data)+pipeBuf)])
		if err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(r, data[len(data):len(data)+n]); err != nil {
			return nil, err
		}
		data = data[:len(data)+n]
	}
	return data, nil
}

// pipeBuf is what an empty pipe takes without a reader (pipe(7), PIPE_BUF).
const pipeBuf = 4096

// sshdsTmp opens /tmp as the sshd that let a session in sees it: the nearest one up from
// the session that runs as root, whose mounts no person can change. jit may have another
// /tmp (PrivateTmp=, a container), and so may the session (pam_namespace).
func sshdsTmp(proc string, all map[int]process, session process) (int, error) {
	if os.Geteuid() != 0 {
		// Then jit sees processes of its own user alone, and no root's.
		return unix.Open("/tmp", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	p, there := session, true
	for seen := map[int]bool{}; there && !seen[p.pid]; p, there = all[p.parent] {
		seen[p.pid] = true
		if p.uid == 0 {
			if tmp, err := tmpOf(proc, p); err == nil {
				return tmp, nil
			}
		}
	}
	if session.alone {
		// Its monitor is gone, which saw what another sshd of root's sees. Its own /tmp may be
		// the person's, who may answer for it.
		for _, p := range all {
			if p.uid == 0 && p.isSSHD() {
				if tmp, err := tmpOf(proc, p); err == nil {
					return tmp, nil
				}
			}
		}
	}
	return -1, errors.New("no sshd of root's is seen above the session")
}

// tmpOf opens /tmp as exactly p sees it, which must be sshd.
func tmpOf(proc string, p process) (int, error) {
	dir, err := unix.Open(filepath.Join(proc, strconv.Itoa(p.pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	// The folder stays the process's that had the number when it was opened.
	if now, ok := p.again(proc, 0); !ok || now.start == "" || now.start != p.start || now.uid != 0 {
		return -1, unix.ESRCH
	}
	exe := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, "exe", exe)
	if err != nil {
		return -1, err
	}
	if !isSSHDFile(string(exe[:n])) {
		return -1, fmt.Errorf("%q is not sshd", exe[:n])
	}
	return unix.Openat(dir, "root/tmp", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
