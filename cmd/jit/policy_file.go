package main

import (
	"bytes"
	"fmt"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// readBody reads the part of a policy that people write from a file, or from
// standard input where file is "-". Where it could be read and is no policy, its
// bytes come with the error.
func readBody(a *App, file string) ([]byte, *policy.Body, error) {
	var data []byte
	var err error
	if file == "-" {
		if data, err = a.IO.readAll(record.MaxSize); err == nil && len(data) > record.MaxSize {
			err = fmt.Errorf("it is larger than %d bytes", record.MaxSize)
		}
	} else {
		data, err = readFileUpTo(file, record.MaxSize)
	}
	if err != nil {
		return nil, nil, usageErr("give the file of a policy's body", "the policy cannot be read: %v", err)
	}
	var body policy.Body
	if err := record.DecodeStrict(data, &body); err != nil {
		if startsWithHead(data) {
			return data, nil, usageErr("leave out apiVersion, kind, id and what follows, up to admins; jit writes the head", "%s holds a whole record, not the part that people write", file)
		}
		return data, nil, fileRefusal(file, err)
	}
	return data, &body, nil
}

func startsWithHead(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("apiVersion:"))
}
