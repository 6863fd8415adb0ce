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

package commands

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

// concurrentChanges is the number of objects that are changed at the same time.
const concurrentChanges = 8

// confirm asks a question, and reports whether the answer is yes.
func confirm(in io.Reader, out io.Writer, question string) (bool, error) {
	if _, err := fmt.Fprintf(out, "%s [y/N]: ", question); err != nil {
		return false, err
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// change changes the orphans by the requests of the operator, which apply only to what was observed.
func (o *orphansCommand) change(ctx context.Context, orphans []*orphan) error {
	config, err := o.restConfig()
	if err != nil {
		return err
	}
	httpClient, err := o.httpClient()
	if err != nil {
		return err
	}
	requests, err := executor.NewClient(config, httpClient)
	if err != nil {
		return err
	}
	writer := executor.New(requests, o.cleaner, executor.NewFairSemaphore(concurrentChanges, concurrentChanges))
	var mu sync.Mutex
	failed := 0
	changes, ctx := errgroup.WithContext(ctx)
	changes.SetLimit(concurrentChanges)
	for _, orphan := range orphans {
		changes.Go(func() error {
			done, problem := o.changeOne(ctx, writer, orphan)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			title := fmt.Sprintf("%s/%s in namespace %s", orphan.resource.GroupResource(), orphan.observed.Name, orphan.observed.Namespace)
			if problem != nil {
				failed++
				o.note("%s left alone: %s", title, oneLine(problem))
				return nil
			}
			_, err := fmt.Fprintf(o.Out, "%s %s\n", title, done)
			return err
		})
	}
	if err := changes.Wait(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d orphans were left alone: run the command again to see what they are now", failed, len(orphans))
	}
	return nil
}

// changeOne changes an orphan if its Replika still does not exist. It returns what was done.
func (o *orphansCommand) changeOne(ctx context.Context, writer *executor.Executor, orphan *orphan) (done string, problem error) {
	owner, _ := orphan.observed.Owner()
	exists, err := o.replikas.existsNow(ctx, owner)
	switch {
	case err != nil:
		return "", fmt.Errorf("reading Replika %s: %w", owner, err)
	case exists:
		return "", fmt.Errorf("Replika %s exists again", owner) //nolint:staticcheck // a kind begins the message
	}
	result := writer.Execute(ctx, orphan.resource, owner, &orphan.action)
	switch {
	case result.Outcome == planner.Stale:
		return "", errors.New("it has changed meanwhile")
	case result.Outcome != planner.Done && result.Outcome != planner.Unchanged:
		return "", result.Err
	case orphan.action.Type == planner.Release:
		return "released", nil
	}
	return "deleted", nil
}
