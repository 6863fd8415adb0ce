// Package executor knows HOW a copy is written: one atomic, guarded request for each action, the classing of the API
// server's answers, and the limit on parallel requests that all Replikas share fairly. It decides nothing: which action
// is due, and what follows from its outcome, is settled in package planner.
package executor
