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

package planner

import "time"

// Contest is the history of one copy that was repaired although neither source nor spec changed, because another client
// modified or deleted it. A single manual change is repaired at once. If another controller keeps changing the copy,
// repairs are backed off, so that the two do not overwrite each other in a tight loop.
type Contest struct {
	// Repairs is the number of repairs, each of which was undone.
	Repairs int
	// Last is when the copy was last repaired.
	Last time.Time
}

const (
	// contestThreshold is the number of repairs without backoff; from then on the copy is contested.
	contestThreshold = 3
	// contestWindow is how long a repair counts at least. Changes at a lower rate are not contested.
	contestWindow = 10 * time.Second
)

// Contested reports whether another client keeps changing the copy.
func (c Contest) Contested() bool { return c.Repairs >= contestThreshold }

// Backoff is the time until the copy may be repaired again. It doubles with each repair, up to the synchronization time.
func (c Contest) Backoff(now time.Time, synchronization time.Duration) time.Duration {
	if !c.Contested() {
		return 0
	}
	return max(0, c.Last.Add(c.delay(synchronization)).Sub(now))
}

// delay is the backoff of a contested copy, measured from its last repair.
func (c Contest) delay(synchronization time.Duration) time.Duration {
	return RetryDelay(c.Repairs-contestThreshold+1, synchronization)
}

// Repaired returns the history with one more repair.
func (c Contest) Repaired(now time.Time) Contest {
	return Contest{Repairs: c.Repairs + 1, Last: now}
}

// ExpiresIn is the time until the history expires, provided that the copy needs no repair meanwhile. The history lasts for
// two delays: one of backoff, and one in which the copy stayed in sync. If it expired with the backoff, the delay would
// never grow. It lasts for contestWindow at least, because early delays are shorter than the interval of a slow writer.
func (c Contest) ExpiresIn(now time.Time, synchronization time.Duration) time.Duration {
	window := contestWindow
	if c.Contested() {
		window = max(window, 2*c.delay(synchronization))
	}
	return max(0, c.Last.Add(window).Sub(now))
}

// Expired reports whether the history has expired.
func (c Contest) Expired(now time.Time, synchronization time.Duration) bool {
	return c.ExpiresIn(now, synchronization) == 0
}

// CorrectsDrift reports whether the action repaired what another client did to a copy.
func (in *Input) CorrectsDrift(action *Action, outcome Outcome) bool {
	key := action.Key()
	if outcome != Done || !in.TemplateUnchanged || action.Template == nil || in.OutOfSync[key] {
		return false
	}
	if action.Observed != nil && action.Observed.OwnedBy(in.Replika) {
		return true
	}
	_, repairedBefore := in.Contests[key]
	return repairedBefore || in.RemovedByOthers[key]
}
