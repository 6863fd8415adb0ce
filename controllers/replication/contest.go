package replication

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
	toleratedRepairs = 3
	// contestWindow is how long repairs count that were not enough for a contest.
	contestWindow = 10 * time.Second
)

// Contested tells whether this is a contest.
func (c Contest) Contested() bool { return c.Repairs >= toleratedRepairs }

// Hold is how long the copy is left alone from now on: longer with every repair, up to the synchronization time.
func (c Contest) Hold(now time.Time, synchronization time.Duration) time.Duration {
	if !c.Contested() {
		return 0
	}
	return max(0, c.Last.Add(c.delay(synchronization)).Sub(now))
}

// delay is how long a contested copy is left alone after a repair.
func (c Contest) delay(synchronization time.Duration) time.Duration {
	return RetryDelay(c.Repairs-toleratedRepairs+1, synchronization)
}

// Repaired counts one more repair.
func (c Contest) Repaired(now time.Time) Contest {
	return Contest{Repairs: c.Repairs + 1, Last: now}
}

// Over tells whether the copy has needed no repair for so long that the contest is forgotten: it was left alone for one
// delay, and stayed as it is for another. Were it forgotten as soon as the hold is off, no delay would ever grow.
func (c Contest) Over(now time.Time, synchronization time.Duration) bool {
	if c.Contested() {
		return now.Sub(c.Last) >= 2*c.delay(synchronization)
	}
	return now.Sub(c.Last) >= contestWindow
}
