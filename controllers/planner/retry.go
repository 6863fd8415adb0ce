package planner

import "time"

// firstRetry is the delay before the first retry of what failed for a moment.
const initialBackoff = 500 * time.Millisecond

// RetryDelay is how long to wait after so many passes in a row in which something failed for a moment: it doubles, and
// never exceeds the Replika's synchronization time.
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

// Transient tells whether the outcome may be gone with the next try, so that waiting for the whole synchronization time
// would be a pity. For all others a change somewhere else is needed.
func (o Outcome) Transient() bool {
	return o == Unavailable || o == Stale
}
