package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/identity"
	"github.com/prosimcorp/replika/controllers/planner"
)

// pass is one look at one Replika. It collects what stands in the way and what was done, for the status at its end.
type pass struct {
	*ReplikaReconciler
	name types.NamespacedName
	// replika is ours to change; before is as it was when the pass began.
	replika, before *v1alpha1.Replika
	memory          *memory
	// account is whom requests about source and copies are made as, and as the client that makes them.
	account identity.Account
	as      *Client

	obstacle *obstacle
	// templateKnown is true when the last pass had the same template.
	templateKnown bool
	// unwatched is true when changes are noticed by polling only, because a watch could not be had.
	unwatched bool
	// lost are the copies that somebody else took away since the last pass.
	lost map[types.NamespacedName]bool
	// behind are the copies that could not be brought in line.
	behind map[types.NamespacedName]bool
	// held tells until when contested copies are left alone.
	held map[types.NamespacedName]time.Time
	// unwanted is true when no copy is wanted any more, because a live read confirmed that the source does not exist and
	// its copies go with it, or that it allows none.
	unwanted bool
	report   report
}

func (r *ReplikaReconciler) newPass(cached *v1alpha1.Replika) (*pass, error) {
	name := types.NamespacedName{Namespace: cached.Namespace, Name: cached.Name}
	memory := r.memories.of(name)
	replika := memory.latest(cached)
	account := identity.Of(replika, r.Policy.DefaultServiceAccount)
	as, err := r.Clients.As(account)
	if err != nil {
		return nil, err
	}
	return &pass{
		ReplikaReconciler: r,
		name:              name,
		replika:           replika,
		before:            replika.DeepCopy(),
		memory:            memory,
		account:           account,
		as:                as,
	}, nil
}

// sourceKind is the kind that the spec names, whatever its version.
func (p *pass) sourceKind() schema.GroupKind {
	return schema.GroupKind{Group: p.replika.Spec.Source.Group, Kind: p.replika.Spec.Source.Kind}
}

// obstacle is what keeps a whole Replika from being served.
type obstacle struct {
	// Reason is one of the reasons of the condition Ready.
	Reason, Message string
	// Stalled: only a change of spec or cluster helps. Otherwise it is waited for.
	Stalled bool
	// Transient: worth another try before the synchronization time is over.
	Transient bool
}

// hinder notes the first obstacle of a pass; what follows from it is not worth telling.
func (p *pass) hinder(found obstacle) {
	if p.obstacle == nil {
		p.obstacle = &found
	}
}

// memory is what the operator remembers of a Replika from pass to pass. Nothing depends on it but how soon something is
// tried again and which resourceVersion of the source is shown.
type memory struct {
	// failures counts the passes in a row in which something failed for a moment.
	failures int
	// template holds the digests of the last one, and is empty before the first.
	template planner.Digests
	// templateVersion is the resourceVersion of the source that it was first made of.
	templateVersion string
	// written is the Replika as our last write of it was answered, until the cache has caught up.
	written *v1alpha1.Replika
	// behind are the copies that the last pass could not bring in line: to do so later repairs nothing.
	behind map[types.NamespacedName]bool
	// contests holds the histories of copies that had to be repaired lately.
	contests map[types.NamespacedName]planner.Contest
	// propagating is when the change of the source was noticed that has not yet come to every copy.
	propagating time.Time
	// sourceChanged is when the watch last told of a change of the source that no pass has looked at yet; guarded by the
	// lock of the memories.
	sourceChanged time.Time
	// held tells until when contested copies are left alone; guarded by the lock of the memories.
	held map[types.NamespacedName]time.Time
}

// latest is the Replika as the cache has it or, if that is older, as our last write of it was answered. Otherwise a pass
// that follows at once would write the same status again.
func (m *memory) latest(cached *v1alpha1.Replika) *v1alpha1.Replika {
	if m.written != nil && m.written.UID == cached.UID {
		order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, m.written.ResourceVersion)
		// The answer to the patch that removes the last finalizer bears the version that the cache has too.
		if err == nil && order <= 0 {
			return m.written.DeepCopy()
		}
	}
	m.written = nil
	return cached
}

// memories are the memories of all Replikas. One Replika is worked on by one goroutine at a time.
type memories struct {
	mu        sync.Mutex
	byReplika map[types.NamespacedName]*memory
}

func (m *memories) of(replika types.NamespacedName) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byReplika == nil {
		m.byReplika = map[types.NamespacedName]*memory{}
	}
	if m.byReplika[replika] == nil {
		m.byReplika[replika] = &memory{}
	}
	return m.byReplika[replika]
}

// sourceChanged notes, for the Replikas that are known, that their source changed; the first change counts.
func (m *memories) sourceChanged(replikas []types.NamespacedName, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, replika := range replikas {
		if memory := m.byReplika[replika]; memory != nil && memory.sourceChanged.IsZero() {
			memory.sourceChanged = now
		}
	}
}

// takeSourceChanged returns when the source was noticed to change, once.
func (m *memories) takeSourceChanged(replika types.NamespacedName) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	memory := m.byReplika[replika]
	if memory == nil {
		return time.Time{}
	}
	noticed := memory.sourceChanged
	memory.sourceChanged = time.Time{}
	return noticed
}

// hold notes until when contested copies of the Replika are left alone; all others are not.
func (m *memories) hold(replika types.NamespacedName, held map[types.NamespacedName]time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if memory := m.byReplika[replika]; memory != nil {
		memory.held = held
	}
}

// holds tells whether the Replika leaves the copy alone for now, so that a change of it is no news.
func (m *memories) holds(replika, copied types.NamespacedName, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	memory := m.byReplika[replika]
	return memory != nil && now.Before(memory.held[copied])
}

func (m *memories) forget(replika types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byReplika, replika)
}

// repaired counts one more repair of the copy.
func (m *memory) repaired(key types.NamespacedName) planner.Contest {
	if m.contests == nil {
		m.contests = map[types.NamespacedName]planner.Contest{}
	}
	m.contests[key] = m.contests[key].Repaired(time.Now())
	return m.contests[key]
}

// forgetContests drops the histories of copies that have been left in peace for long enough.
func (m *memory) forgetContests(synchronization time.Duration) {
	now := time.Now()
	for key, contest := range m.contests {
		if contest.Expired(now, synchronization) {
			delete(m.contests, key)
		}
	}
}
