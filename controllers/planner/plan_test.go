package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// newInput is the input of a pass of ops/sync over the namespaces shop and web, with nothing there.
func newInput(t testing.TB, changes ...func(*Input)) *Input {
	t.Helper()
	replika := newReplika()
	in := &Input{
		Replika:         ours,
		Kind:            configMapKind,
		Name:            "settings",
		Template:        mustTemplate(t, replika, newObject("vault", "settings")),
		Selection:       mustSelection(t, replika),
		SourceNamespace: "vault",
		Namespaces:      []Namespace{{Name: "vault"}, {Name: "shop"}, {Name: "web"}},
		Claimants:       claimants(replika),
	}
	for _, change := range changes {
		change(in)
	}
	return in
}

func adopting(in *Input)      { in.ConflictPolicy = v1alpha1.ConflictPolicyAdopt }
func retaining(in *Input)     { in.DeletionPolicy = v1alpha1.DeletionPolicyRetain }
func withoutSource(in *Input) { in.Template = nil }
func deselected(in *Input)    { in.Selection = nil }

func against(rivals ...*v1alpha1.Replika) func(*Input) {
	return func(in *Input) { in.Claimants = claimants(append(rivals, newReplika())...) }
}

func TestDecide(t *testing.T) {
	template := newInput(t).Template
	theirTemplate := mustTemplate(t, newReplika(named(theirs)), newObject("vault", "settings", withField("slow", "data", "mode")))
	rival := newReplika(named(theirs))
	adopted := withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})
	newer := withAnnotations(map[string]string{v1alpha1.AnnotationMarksVersion: "2"})
	drifted := withField("slow", "data", "mode")

	cases := map[string]struct {
		change      []func(*Input)
		object      *unstructured.Unstructured
		want        ActionType
		wantAdopt   bool
		wantMessage string
	}{
		"nothing there": {want: Create},
		"in sync":       {object: copyOf(t, template, "shop"), want: Keep},
		"in sync, with keys of others": {
			object: copyOf(t, template, "shop", withLabels(map[string]string{"example.com/mine": "x"})), want: Keep,
		},
		"in sync, adopted":          {object: copyOf(t, template, "shop", adopted), want: Keep},
		"drifted":                   {object: copyOf(t, template, "shop", drifted), want: Update},
		"drifted, adopted":          {object: copyOf(t, template, "shop", adopted, drifted), want: Update},
		"lost its labels":           {object: copyOf(t, template, "shop", func(o *unstructured.Unstructured) { o.SetLabels(nil) }), want: Update},
		"our copy has a controller": {object: copyOf(t, template, "shop", controlled, drifted), want: Update},

		"being deleted":                   {object: copyOf(t, template, "shop", terminating), want: Wait, wantMessage: "being deleted"},
		"a foreign object, being deleted": {object: newObject("shop", "settings", terminating), want: Wait, wantMessage: "being deleted"},
		"being deleted under Adopt":       {change: []func(*Input){adopting}, object: newObject("shop", "settings", terminating), want: Wait, wantMessage: "being deleted"},

		"newer marks":             {object: copyOf(t, template, "shop", newer), want: Conflict, wantMessage: "newer version of the operator"},
		"newer marks under Adopt": {change: []func(*Input){adopting}, object: copyOf(t, template, "shop", newer), want: Conflict, wantMessage: "newer version"},

		"a foreign object":                    {object: newObject("shop", "settings"), want: Conflict, wantMessage: "Adopt"},
		"a foreign object under Adopt":        {change: []func(*Input){adopting}, object: newObject("shop", "settings"), want: Update, wantAdopt: true},
		"a controlled object":                 {object: newObject("shop", "settings", controlled), want: Conflict, wantMessage: "Adopt"},
		"a controlled object under Adopt":     {change: []func(*Input){adopting}, object: newObject("shop", "settings", controlled), want: Conflict, wantMessage: "controller of its own"},
		"a duplicate of a copy":               {object: copyOf(t, template, "web", func(o *unstructured.Unstructured) { o.SetNamespace("shop") }), want: Conflict, wantMessage: "not a copy of this Replika"},
		"a duplicate of a copy under Adopt":   {change: []func(*Input){adopting}, object: copyOf(t, template, "web", func(o *unstructured.Unstructured) { o.SetNamespace("shop") }), want: Update, wantAdopt: true},
		"marks that say nothing":              {object: copyOf(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationOwner)), want: Conflict, wantMessage: "not a copy"},
		"the version of the marks taken off":  {object: copyOf(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationMarksVersion)), want: Conflict, wantMessage: "not a copy"},
		"all marks taken off, the rest is as": {object: copyOf(t, template, "shop", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }), want: Update},

		"a legacy copy":                       {object: newObject("shop", "settings", legacyLabels("sync")), want: Update},
		"a legacy copy under Adopt":           {change: []func(*Input){adopting}, object: newObject("shop", "settings", legacyLabels("sync")), want: Update},
		"a legacy copy with other content":    {object: newObject("shop", "settings", legacyLabels("sync"), drifted), want: Conflict, wantMessage: "Adopt"},
		"a legacy copy with more content":     {object: newObject("shop", "settings", legacyLabels("sync"), withField(true, "immutable")), want: Conflict, wantMessage: "Adopt"},
		"a legacy copy of another Replika":    {object: newObject("shop", "settings", legacyLabels("other")), want: Conflict, wantMessage: "Adopt"},
		"a legacy copy without one label":     {object: newObject("shop", "settings", withLabels(map[string]string{v1alpha1.LabelPartOf: "sync"})), want: Conflict, wantMessage: "Adopt"},
		"a stale legacy copy under Adopt":     {change: []func(*Input){adopting}, object: newObject("shop", "settings", legacyLabels("sync"), drifted), want: Update, wantAdopt: true},
		"a legacy copy with keys of its own":  {object: newObject("shop", "settings", legacyLabels("sync"), withAnnotations(map[string]string{"note": "x"})), want: Update},
		"a legacy copy with tracking of Argo": {object: newObject("shop", "settings", legacyLabels("sync"), withLabels(map[string]string{"argocd.argoproj.io/instance": "x"})), want: Update},

		"a rival's copy":                                {change: []func(*Input){against(rival)}, object: copyOf(t, theirTemplate, "shop"), want: Conflict, wantMessage: "Replika dev/sync"},
		"a rival's copy under Adopt":                    {change: []func(*Input){against(rival), adopting}, object: copyOf(t, theirTemplate, "shop"), want: Conflict, wantMessage: "Replika dev/sync"},
		"of a rival that is gone":                       {object: copyOf(t, theirTemplate, "shop"), want: Update},
		"of a rival that is gone, adopted":              {object: copyOf(t, theirTemplate, "shop", adopted), want: Update},
		"of a rival in deletion":                        {change: []func(*Input){against(newReplika(named(theirs), beingDeleted))}, object: copyOf(t, theirTemplate, "shop"), want: Update},
		"of a rival that wants it no more":              {change: []func(*Input){against(newReplika(named(theirs), into("web")))}, object: copyOf(t, theirTemplate, "shop"), want: Update},
		"of a rival that copies another kind":           {change: []func(*Input){against(newReplika(named(theirs), func(r *v1alpha1.Replika) { r.Spec.Source.Kind = "Secret" }))}, object: copyOf(t, theirTemplate, "shop"), want: Update},
		"of a rival that has another name":              {change: []func(*Input){against(newReplika(named(theirs), func(r *v1alpha1.Replika) { r.Spec.Target.Name = "other" }))}, object: copyOf(t, theirTemplate, "shop"), want: Update},
		"of a rival that has not noticed its source go": {change: []func(*Input){against(newReplika(named(theirs), sourceGone))}, object: copyOf(t, theirTemplate, "shop"), want: Conflict, wantMessage: "Replika dev/sync"},

		"no source, nothing there":       {change: []func(*Input){withoutSource}, want: Keep},
		"no source, a copy":              {change: []func(*Input){withoutSource}, object: copyOf(t, template, "shop"), want: Keep},
		"no source, a drifted copy":      {change: []func(*Input){withoutSource}, object: copyOf(t, template, "shop", drifted), want: Keep},
		"no source, an object under way": {change: []func(*Input){withoutSource, adopting}, object: newObject("shop", "settings"), want: Keep},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, c.change...)
			var observed *Observed
			if c.object != nil {
				observed = mustObserve(t, c.object)
			}
			got := in.Decide(Namespace{Name: "shop"}, observed)
			if got.Type != c.want || got.Adopt != c.wantAdopt {
				t.Errorf("got %s, adopt %v, want %s, %v (%s)", got.Type, got.Adopt, c.want, c.wantAdopt, got.Message)
			}
			if (c.wantMessage == "") != (got.Message == "") || !strings.Contains(got.Message, c.wantMessage) {
				t.Errorf("message: got %q, want one about %q", got.Message, c.wantMessage)
			}
			if !got.Desired || got.Namespace != "shop" || got.Name != "settings" || got.Observed != observed || got.Template != in.Template {
				t.Errorf("the action is not about the object: %+v", got)
			}
		})
	}
}

// A webhook may change what is written. What the API server answered to this very template is in sync with it.
func TestAnAnswerThatWasChangedIsInSync(t *testing.T) {
	in := newInput(t)
	observed := mustObserve(t, copyOf(t, in.Template, "shop", withField("by a webhook", "data", "mode")))
	observed.AcceptedDigests = in.Template.Digests
	if got := in.Decide(Namespace{Name: "shop"}, observed); got.Type != Keep {
		t.Errorf("got %s", got.Type)
	}
	in.Template = mustTemplate(t, newReplika(), newObject("vault", "settings", withField("new", "data", "mode")))
	if got := in.Decide(Namespace{Name: "shop"}, observed); got.Type != Update {
		t.Errorf("a new template: got %s", got.Type)
	}
}

func TestGiveUp(t *testing.T) {
	template := newInput(t).Template
	adopted := withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})
	rival := newReplika(named(theirs))
	inVault := newReplika(named(theirs), func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "other" })
	cases := map[string]struct {
		change    []func(*Input)
		namespace Namespace
		object    *unstructured.Unstructured
		want      ActionType // empty for nothing
	}{
		"ours":                            {object: copyOf(t, template, "shop"), want: Delete},
		"ours, drifted":                   {object: copyOf(t, template, "shop", withField("slow", "data", "mode")), want: Delete},
		"ours, under Retain":              {change: []func(*Input){retaining}, object: copyOf(t, template, "shop"), want: Release},
		"ours, adopted":                   {object: copyOf(t, template, "shop", adopted), want: Release},
		"ours, adopted, under Retain":     {change: []func(*Input){retaining}, object: copyOf(t, template, "shop", adopted), want: Release},
		"ours, and inherited":             {change: []func(*Input){against(rival)}, object: copyOf(t, template, "shop"), want: HandOver},
		"ours, adopted, and inherited":    {change: []func(*Input){against(rival)}, object: copyOf(t, template, "shop", adopted), want: HandOver},
		"ours, and inherited with Retain": {change: []func(*Input){against(rival), retaining}, object: copyOf(t, template, "shop"), want: HandOver},
		"the heir is in deletion":         {change: []func(*Input){against(newReplika(named(theirs), beingDeleted))}, object: copyOf(t, template, "shop"), want: Delete},
		"the heir's source is gone too":   {change: []func(*Input){against(newReplika(named(theirs), sourceGone))}, object: copyOf(t, template, "shop"), want: Delete},
		"the heir is elsewhere":           {change: []func(*Input){against(newReplika(named(theirs), into("web")))}, object: copyOf(t, template, "shop"), want: Delete},

		"being deleted":           {object: copyOf(t, template, "shop", terminating)},
		"in a Terminating place":  {namespace: Namespace{Name: "shop", Terminating: true}, object: copyOf(t, template, "shop")},
		"a foreign object":        {object: newObject("shop", "settings")},
		"a rival's":               {object: copyOf(t, mustTemplate(t, newReplika(named(theirs)), newObject("vault", "settings")), "shop")},
		"a legacy copy":           {object: newObject("shop", "settings", legacyLabels("sync"))},
		"a duplicate of a copy":   {object: copyOf(t, template, "web", func(o *unstructured.Unstructured) { o.SetNamespace("shop") })},
		"newer marks":             {object: copyOf(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationMarksVersion: "2"}))},
		"unreadable marks":        {object: copyOf(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationApplied))},
		"in the source's place":   {namespace: Namespace{Name: "vault"}, object: copyOf(t, template, "vault"), want: Conflict},
		"there, adopted":          {namespace: Namespace{Name: "vault"}, object: copyOf(t, template, "vault", adopted), want: Conflict},
		"there, under Retain":     {change: []func(*Input){retaining}, namespace: Namespace{Name: "vault"}, object: copyOf(t, template, "vault"), want: Conflict},
		"there, and inherited":    {change: []func(*Input){against(inVault)}, namespace: Namespace{Name: "vault"}, object: copyOf(t, template, "vault"), want: Conflict},
		"there, and not ours":     {namespace: Namespace{Name: "vault"}, object: newObject("vault", "settings")},
		"there, and on its way":   {namespace: Namespace{Name: "vault"}, object: copyOf(t, template, "vault", terminating)},
		"there, and all vanishes": {namespace: Namespace{Name: "vault", Terminating: true}, object: copyOf(t, template, "vault")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, append(c.change, deselected)...)
			if c.namespace.Name == "" {
				c.namespace.Name = "shop"
			}
			observed := mustObserve(t, c.object)
			got, needed := in.prune(c.namespace, observed)
			if got.Type != c.want || needed != (c.want != "") {
				t.Fatalf("got %q, %v, want %q (%s)", got.Type, needed, c.want, got.Message)
			}
			if !needed {
				return
			}
			if got.Desired || got.Template != nil || got.Observed != observed || got.Namespace != c.namespace.Name || got.Name != "settings" {
				t.Errorf("the action is not about the object: %+v", got)
			}
			if wantHeir := c.want == HandOver; wantHeir != (got.NewOwner == theirs) {
				t.Errorf("heir: %v", got.NewOwner)
			}
			if (c.want == Conflict) != (got.Message != "") {
				t.Errorf("message: %q", got.Message)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	template := newInput(t).Template
	renamed := mustTemplate(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Name = "former" }), newObject("vault", "settings"))
	rival := newReplika(named(theirs))
	observe := func(objects ...*unstructured.Unstructured) func(*Input) {
		return func(in *Input) {
			for _, object := range objects {
				in.Observed = append(in.Observed, mustObserve(t, object))
			}
		}
	}
	cases := map[string]struct {
		change []func(*Input)
		want   []string
	}{
		"first fan-out": {want: []string{"create shop/settings", "create web/settings"}},
		"at rest": {
			change: []func(*Input){observe(copyOf(t, template, "web"), copyOf(t, template, "shop"))},
			want:   []string{"keep shop/settings", "keep web/settings"},
		},
		"Terminating namespaces get nothing": {
			change: []func(*Input){func(in *Input) { in.Namespaces[1].Terminating = true }, observe(copyOf(t, template, "shop"))},
			want:   []string{"create web/settings"},
		},
		"a namespace is no longer selected": {
			change: []func(*Input){
				func(in *Input) { in.Selection = mustSelection(t, newReplika(into("web"))) },
				observe(copyOf(t, template, "shop"), copyOf(t, template, "web")),
			},
			want: []string{"delete shop/settings", "keep web/settings"},
		},
		"the copies are renamed": {
			change: []func(*Input){observe(copyOf(t, renamed, "shop"), copyOf(t, template, "web"))},
			want:   []string{"delete shop/former", "create shop/settings", "keep web/settings"},
		},
		"the former name is inherited": {
			change: []func(*Input){
				against(newReplika(named(theirs), func(r *v1alpha1.Replika) { r.Spec.Target.Name = "former" })), observe(copyOf(t, renamed, "shop")),
			},
			want: []string{"hand over shop/former", "create shop/settings", "create web/settings"},
		},
		"the Replika is deleted": {
			change: []func(*Input){deselected, withoutSource, observe(copyOf(t, template, "shop"), newObject("web", "settings"))},
			want:   []string{"delete shop/settings"},
		},
		"the source is gone, the copies stay": {
			change: []func(*Input){withoutSource, observe(copyOf(t, template, "shop"))},
			want:   []string{"keep shop/settings", "keep web/settings"},
		},
		"the source is gone, what is not selected goes all the same": {
			change: []func(*Input){
				withoutSource, func(in *Input) { in.Selection = mustSelection(t, newReplika(into("web"))) }, observe(copyOf(t, template, "shop")),
			},
			want: []string{"delete shop/settings", "keep web/settings"},
		},
		"a copy in what is now the source's namespace": {
			change: []func(*Input){observe(copyOf(t, template, "vault"))},
			want:   []string{"create shop/settings", "conflict vault/settings", "create web/settings"},
		},
		"the selection knows the source's namespace by another name": {
			// The source's namespace is none of the selection's business here: the plan refuses it by itself.
			change: []func(*Input){func(in *Input) {
				in.Selection = mustSelection(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "other" }))
			}},
			want: []string{"create shop/settings", "create web/settings"},
		},
		"a rival's copies": {
			change: []func(*Input){
				against(rival), observe(copyOf(t, mustTemplate(t, rival, newObject("vault", "settings")), "shop")),
			},
			want: []string{"conflict shop/settings", "create web/settings"},
		},
		"a copy in a namespace that is gone": {
			change: []func(*Input){observe(copyOf(t, template, "gone"))},
			want:   []string{"delete gone/settings", "create shop/settings", "create web/settings"},
		},
		"there, the source's namespace is still known by name": {
			change: []func(*Input){
				func(in *Input) { in.Namespaces = []Namespace{{Name: "shop"}} }, observe(copyOf(t, template, "vault")),
			},
			want: []string{"conflict vault/settings", "create shop/settings"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, c.change...)
			want := slices.Clone(c.want)
			slices.SortFunc(want, func(a, b string) int { return strings.Compare(place(a), place(b)) })
			for range 5 { // maps have no order, plans have
				var got []string
				for _, action := range Plan(in) {
					got = append(got, string(action.Type)+" "+action.Namespace+"/"+action.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

func place(action string) string {
	return action[strings.LastIndex(action, " ")+1:]
}

// A rival may claim by name a namespace of which nothing is known yet; one that goes by labels cannot.
func TestHeirInANamespaceThatIsNotKnown(t *testing.T) {
	template := newInput(t).Template
	excluding := newReplika(named(theirs), func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces.ExcludeFrom = []string{"new"}
	})
	for name, c := range map[string]struct {
		rival *v1alpha1.Replika
		want  ActionType
	}{
		"claimed by name": {newReplika(named(theirs), into("new")), HandOver},
		"excluded":        {excluding, Delete},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, against(c.rival), deselected)
			in.Observed = []*Observed{mustObserve(t, copyOf(t, template, "new"))}
			plan := Plan(in)
			if len(plan) != 1 || plan[0].Type != c.want {
				t.Errorf("got %+v, want one %s", plan, c.want)
			}
		})
	}
}
