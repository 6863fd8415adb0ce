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

package executor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/controllers/executor"
)

func replikaOf(number int) types.NamespacedName {
	return types.NamespacedName{Namespace: "ops", Name: fmt.Sprint(number)}
}

func TestLimitHasAtLeastOnePlace(t *testing.T) {
	for _, places := range []int{-1, 0, 1} {
		limit := executor.NewFairSemaphore(places)
		expectFree(t, limit, 1)
	}
}

// One Replika with a single request does not wait for the thousands of another.
func TestLimitIsFair(t *testing.T) {
	const crowd = 5000
	synctest.Test(t, func(t *testing.T) {
		limit := executor.NewFairSemaphore(1)
		big, small := replikaOf(1), replikaOf(2)
		first, err := limit.Acquire(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		var served []types.NamespacedName // guarded by the only place
		wait := func(replika types.NamespacedName) {
			go func() {
				release, err := limit.Acquire(t.Context(), replika)
				if err != nil {
					t.Error(err)
					return
				}
				served = append(served, replika)
				release()
			}()
		}
		for range crowd {
			wait(big)
		}
		synctest.Wait()
		wait(small)
		synctest.Wait()
		first()
		synctest.Wait()
		if len(served) != crowd+1 {
			t.Fatalf("%d were served, not %d", len(served), crowd+1)
		}
		if turn := slices.Index(served, small); turn > 1 {
			t.Fatalf("%d were served before the one", turn)
		}
	})
}

// Under a crowd that comes, works and gives up at any moment, no place is lost and none is given twice.
func TestLimitUnderCancellation(t *testing.T) {
	const places, workers, rounds = 3, 24, 200
	limit := executor.NewFairSemaphore(places)
	var inside atomic.Int64
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				gaveUp := make(chan struct{})
				go func() {
					defer close(gaveUp)
					if rand.IntN(2) == 0 {
						cancel()
					}
				}()
				release, err := limit.Acquire(ctx, replikaOf(worker%5))
				switch {
				case err == nil:
					if now := inside.Add(1); now > places {
						t.Errorf("%d are inside at once", now)
					}
					inside.Add(-1)
					release()
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
				<-gaveUp
				cancel()
			}
		})
	}
	group.Wait()
	expectFree(t, limit, places)
}

// expectFree checks that so many places are free, and no more.
func expectFree(t *testing.T, limit *executor.FairSemaphore, places int) {
	t.Helper()
	if problem := free(limit, places); problem != "" {
		t.Fatal(problem)
	}
}

func free(limit *executor.FairSemaphore, places int) string {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for taken := range places {
		release, err := limit.Acquire(ended, replikaOf(0))
		if err != nil {
			return fmt.Sprintf("%d places are free, not %d", taken, places)
		}
		defer release()
	}
	if _, err := limit.Acquire(ended, replikaOf(0)); !errors.Is(err, context.Canceled) {
		return fmt.Sprintf("more than %d places are free: %v", places, err)
	}
	return ""
}

// A move in the life of a limit: somebody comes, somebody inside leaves, somebody who waits gives up, or does so and is
// let in before it is noticed.
type move struct {
	kind    string
	replika int
	which   int
}

var moves = rapid.Custom(func(t *rapid.T) move {
	return move{
		kind:    rapid.SampledFrom([]string{"come", "come", "leave", "give up", "give up and leave"}).Draw(t, "kind"),
		replika: rapid.IntRange(1, 4).Draw(t, "replika"),
		which:   rapid.IntRange(0, 100).Draw(t, "which"),
	}
})

func TestLimitProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		places := rapid.IntRange(1, 4).Draw(rt, "places")
		life := rapid.SliceOfN(moves, 0, 60).Draw(rt, "life")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = play(t.Context(), places, life) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// visitor is one who came.
type visitor struct {
	replika types.NamespacedName
	giveUp  context.CancelFunc
	release func()
	err     error
	over    bool
	seen    bool
}

// play lives through the moves, one at a time, and says which promise was broken.
func play(ctx context.Context, places int, life []move) string {
	limit := executor.NewFairSemaphore(places)
	var all []*visitor
	where := func(is func(*visitor) bool) []*visitor {
		return slices.DeleteFunc(slices.Clone(all), func(v *visitor) bool { return v.over || !is(v) })
	}
	inside := func(v *visitor) bool { return v.release != nil }
	waiting := func(v *visitor) bool { return v.release == nil }
	// passed counts, for a Replika that waits, how often another has been let in since it last was, or began to wait.
	passed := map[types.NamespacedName]map[types.NamespacedName]int{}

	step := func(now move) {
		in, out := where(inside), where(waiting)
		if now.kind == "come" {
			visit, giveUp := context.WithCancel(ctx)
			v := &visitor{replika: replikaOf(now.replika), giveUp: giveUp}
			all = append(all, v)
			go func() { v.release, v.err = limit.Acquire(visit, v.replika) }()
		}
		if strings.Contains(now.kind, "give up") && len(out) > 0 {
			// The first is most likely the one whose turn it is.
			out[now.which%2%len(out)].giveUp()
		}
		if strings.Contains(now.kind, "leave") && len(in) > 0 {
			v := in[now.which%len(in)]
			v.over = true
			v.release()
			v.giveUp()
		}
		synctest.Wait()
	}
	check := func() string {
		for _, v := range all {
			if v.err != nil && !v.over {
				v.over = true
				// A turn that one took who then gave up was a turn all the same.
				delete(passed, v.replika)
			}
		}
		for _, v := range all {
			if v.release == nil || v.seen {
				continue
			}
			v.seen = true
			delete(passed, v.replika)
			for other, by := range passed {
				if by[v.replika]++; by[v.replika] > 1 {
					return fmt.Sprintf("%s was let in twice while %s waited", v.replika, other)
				}
			}
		}
		in, out := where(inside), where(waiting)
		if len(in) > places {
			return fmt.Sprintf("%d are inside, with %d places", len(in), places)
		}
		if len(out) > 0 && len(in) < places {
			return fmt.Sprintf("%d wait although %d of %d places are taken", len(out), len(in), places)
		}
		still := map[types.NamespacedName]bool{}
		for _, v := range out {
			still[v.replika] = true
			if passed[v.replika] == nil {
				passed[v.replika] = map[types.NamespacedName]int{}
			}
		}
		for replika := range passed {
			if !still[replika] {
				delete(passed, replika)
			}
		}
		return ""
	}
	for i, now := range life {
		step(now)
		if problem := check(); problem != "" {
			return fmt.Sprintf("after move %d, %v: %s", i, now, problem)
		}
	}
	for len(where(waiting)) > 0 {
		step(move{kind: "give up"})
		if problem := check(); problem != "" {
			return problem
		}
	}
	for len(where(inside)) > 0 {
		step(move{kind: "leave"})
	}
	return free(limit, places)
}
