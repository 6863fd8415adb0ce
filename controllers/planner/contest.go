package planner

import "time"

// Contest is the history of one copy that had to be repaired although neither source nor spec changed: something else
// rewrites or deletes it. A person who does so once is put right at once; a controller that never stops is backed off
// from, so that no two writers spin.
type Contest struct {
	// Repairs counts the repairs, each of which was undone.
	Repairs int
	// Last is when the copy was last repaired.
	Last time.Time
}

const (
	// toleratedRepairs are made at once; from then on the copy is contested.
	contestThreshold = 3
	// contestWindow is how long a repair counts at least: what is undone less often is no contest.
	contestWindow = 10 * time.Second
)

// Contested tells whether this is a contest.
func (c Contest) Contested() bool { return c.Repairs >= contestThreshold }

// Hold is how long the copy is left alone from now on: longer with every repair, up to the synchronization time.
func (c Contest) Backoff(now time.Time, synchronization time.Duration) time.Duration {
	if !c.Contested() {
		return 0
	}
	return max(0, c.Last.Add(c.delay(synchronization)).Sub(now))
}

// delay is how long a contested copy is left alone after a repair.
func (c Contest) delay(synchronization time.Duration) time.Duration {
	return RetryDelay(c.Repairs-contestThreshold+1, synchronization)
}

// Repaired counts one more repair.
func (c Contest) Repaired(now time.Time) Contest {
	return Contest{Repairs: c.Repairs + 1, Last: now}
}

// End is how long it takes from now on until the history is forgotten, if the copy needs no repair: it was left alone for
// one delay then, and stayed as it is for another. Were it forgotten as soon as the hold is off, no delay would ever grow;
// and were it forgotten before somebody who is in no hurry strikes again, the first delays would be taken for peace.
func (c Contest) ExpiresIn(now time.Time, synchronization time.Duration) time.Duration {
	window := contestWindow
	if c.Contested() {
		window = max(window, 2*c.delay(synchronization))
	}
	return max(0, c.Last.Add(window).Sub(now))
}

// Over tells whether the history is to be forgotten.
func (c Contest) Expired(now time.Time, synchronization time.Duration) bool {
	return c.ExpiresIn(now, synchronization) == 0
}
