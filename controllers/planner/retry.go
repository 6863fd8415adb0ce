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

import (
	"hash/fnv"
	"time"
)

// initialBackoff is the delay before the first retry.
const initialBackoff = 500 * time.Millisecond

// RetryDelay is the delay before the next retry after the given number of consecutive transient failures. It doubles with
// each failure, up to the Replika's synchronization time.
func RetryDelay(failures int, synchronization time.Duration) time.Duration {
	return backoff(initialBackoff, failures, synchronization)
}

// backoff is the first delay, doubled with each attempt after the first, up to the limit.
func backoff(first time.Duration, attempts int, limit time.Duration) time.Duration {
	delay := first
	for range attempts - 1 {
		if delay >= limit {
			break
		}
		delay *= 2
	}
	return min(delay, limit)
}

// spread returns a part of the duration, always the same one for a key, so that what is due for many keys is not due for all at
// the same time.
func spread(key string, within time.Duration) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key)) // never fails
	return within * time.Duration(hash.Sum32()%100) / 100
}
