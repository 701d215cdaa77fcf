package testenv

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSSHDLetsItsClientInAndNobodyElse(t *testing.T) {
	ssh := Need(t, "ssh", "openssh-client")
	s := StartSSHD(t, SSHDOptions{})
	out, err := exec.Command(ssh, append(s.SSHArgs(s.ClientKey), "echo hello")...).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Fatalf("ssh with the client's key: %v, %q\n%s", err, out, s.Log())
	}
	other := filepath.Join(t.TempDir(), "other")
	generateKey(t, Need(t, "ssh-keygen", "openssh-client"), other, "other")
	out, err = exec.Command(ssh, append(s.SSHArgs(other), "echo hello")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Fatalf("ssh with a strange key: %v, %q", err, out)
	}
}

func TestSSHDEndsWithItsTest(t *testing.T) {
	var pid int
	t.Run("server", func(t *testing.T) { pid = StartSSHD(t, SSHDOptions{}).Pid })
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Fatalf("the server of an ended test: %v", err)
	}
}
