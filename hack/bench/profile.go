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

// profile reads one of the operator's profiles.
func (o *instance) profile(ctx context.Context, name string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.profiles+"/debug/pprof/"+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the operator's profile: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the operator's profile %s: %s", name, response.Status)
	}
	return io.ReadAll(response.Body)
}

// saveProfile writes one of the operator's profiles to the folder that was asked for, if any, and returns when it is
// there.
func (s *stage) saveProfile(ctx context.Context, name, file string) error {
	if s.opts.profileFolder == "" {
		return nil
	}
	content, err := s.operator.profile(ctx, name)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.opts.profileFolder, file), content, 0o644)
}

// profiled saves a CPU profile of the operator that is taken while something is done, if profiles were asked for.
func (s *stage) profiled(ctx context.Context, file string, do func() error) error {
	if s.opts.profileFolder == "" {
		return do()
	}
	saved := make(chan error, 1)
	go func() { saved <- s.saveProfile(ctx, fmt.Sprintf("profile?seconds=%d", profileSeconds), file) }()
	return errors.Join(do(), <-saved)
}

// profileSeconds is how long a CPU profile is: what takes longer is cut off.
const profileSeconds = 5
