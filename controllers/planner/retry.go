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

// initialBackoff is the delay before the first retry.
const initialBackoff = 500 * time.Millisecond

// RetryDelay is the delay before the next retry after the given number of consecutive transient failures. It doubles with
// each failure, up to the Replika's synchronization time.
func RetryDelay(failures int, synchronization time.Duration) time.Duration {
	delay := initialBackoff
	for range failures - 1 {
		if delay >= synchronization {
			break
		}
		delay *= 2
	}
	return min(delay, synchronization)
}

// maxEarlyRetries is the number of early retries of a copy that is refused.
const maxEarlyRetries = 5

// EarlyRetryDelay is the delay before the next early retry of a copy that was refused this number of times in a row. A refusal
// ends with a change somewhere else, often soon: a RoleBinding is created before its Role, permissions after the
// namespace, and a quota or an admission plugin is not ready yet. It returns false when only the synchronization time is left.
func EarlyRetryDelay(refusals int, synchronization time.Duration) (time.Duration, bool) {
	if refusals < 1 || refusals > maxEarlyRetries {
		return 0, false
	}
	return RetryDelay(refusals, synchronization), true
}
