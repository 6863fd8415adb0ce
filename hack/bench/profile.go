/*
Copyright The Replika Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// profile returns one of the operator's profiles.
func (o *instance) profile(ctx context.Context, name string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.pprofAddress+"/debug/pprof/"+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's profile %s: %w", name, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the operator's profile %s: %s", name, response.Status)
	}
	return io.ReadAll(response.Body)
}

// saveProfile writes one of the operator's profiles to a file in the directory of --profiles, if it is set.
func (e *environment) saveProfile(ctx context.Context, name, file string) error {
	if e.opts.profileDir == "" {
		return nil
	}
	content, err := e.operator.profile(ctx, name)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(e.opts.profileDir, file), content, 0o644)
}

// withCPUProfile calls do and, if --profiles is set, saves a CPU profile of the operator of that time.
func (e *environment) withCPUProfile(ctx context.Context, file string, do func() error) error {
	if e.opts.profileDir == "" {
		return do()
	}
	saved := make(chan error, 1)
	go func() { saved <- e.saveProfile(ctx, fmt.Sprintf("profile?seconds=%d", profileSeconds), file) }()
	return errors.Join(do(), <-saved)
}

// profileSeconds is the length of a CPU profile.
const profileSeconds = 5
