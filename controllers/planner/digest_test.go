package planner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func digestsOf(t testing.TB, content map[string]any) Digests {
	t.Helper()
	fields, err := encodeFields(content)
	if err != nil {
		t.Fatal(err)
	}
	return newDigests(fields)
}

func TestDigestsAreOfValues(t *testing.T) {
	cases := map[string]struct {
		a, b map[string]any
		want bool
	}{
		"the order of keys is nothing": {
			map[string]any{"data": map[string]any{"a": "1", "b": "2"}, "kind": "x"},
			map[string]any{"kind": "x", "data": map[string]any{"b": "2", "a": "1"}},
			true,
		},
		"a number is what it counts":        {map[string]any{"n": int64(3)}, map[string]any{"n": float64(3)}, true},
		"other numbers":                     {map[string]any{"n": int64(3)}, map[string]any{"n": int64(4)}, false},
		"a number is no text":               {map[string]any{"n": int64(3)}, map[string]any{"n": "3"}, false},
		"large numbers are exact":           {map[string]any{"n": int64(9007199254740993)}, map[string]any{"n": int64(9007199254740992)}, false},
		"the order of a list matters":       {map[string]any{"l": []any{"a", "b"}}, map[string]any{"l": []any{"b", "a"}}, false},
		"an empty map is something":         {map[string]any{"data": map[string]any{}}, map[string]any{}, false},
		"the same value under another name": {map[string]any{"data": "x"}, map[string]any{"info": "x"}, false},
		"nothing and nothing":               {map[string]any{}, nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := digestsOf(t, c.a) == digestsOf(t, c.b); got != c.want {
				t.Errorf("got equal %v, want %v", got, c.want)
			}
		})
	}
}

func TestDiffering(t *testing.T) {
	base := map[string]any{"data": "1", "spec": "2", "type": "3"}
	cases := map[string]struct {
		other map[string]any
		want  []string
	}{
		"same":                  {map[string]any{"type": "3", "spec": "2", "data": "1"}, nil},
		"changed, sorted":       {map[string]any{"data": "x", "spec": "2", "type": "y"}, []string{"data", "type"}},
		"one more":              {map[string]any{"data": "1", "spec": "2", "type": "3", "extra": "4"}, []string{"extra"}},
		"one less":              {map[string]any{"data": "1", "type": "3"}, []string{"spec"}},
		"one more and one less": {map[string]any{"data": "1", "type": "3", "speck": "2"}, []string{"spec", "speck"}},
		"nothing":               {nil, []string{"data", "spec", "type"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, b := digestsOf(t, base), digestsOf(t, c.other)
			if diff := cmp.Diff(c.want, a.Differing(b)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.want, b.Differing(a)); diff != "" {
				t.Errorf("the other way round: %s", diff)
			}
		})
	}
}

// A hash may contain the byte that ends a name: decoding goes by length, not by searching.
func TestDigestsDecodeWhateverTheHashesHold(t *testing.T) {
	content := map[string]any{}
	for i := range 1000 {
		content[string(rune('a'+i%26))+string(rune('0'+i%10))] = i
	}
	digests := digestsOf(t, content)
	if got := len(digests.fields()); got != len(content) {
		t.Errorf("got %d fields back, want %d", got, len(content))
	}
}

func TestCanonicalRefusesWhatIsNoJSON(t *testing.T) {
	if _, err := canonical(map[string]any{"f": func() {}}); err == nil {
		t.Error("a function was rendered")
	}
	if _, err := encodeFields(map[string]any{"f": func() {}}); err == nil {
		t.Error("a field with a function was rendered")
	}
	got, err := canonical(map[string]any{"b": 1, "a": []any{"x"}})
	if err != nil || string(got) != `{"a":["x"],"b":1}` {
		t.Errorf("got %s, %v", got, err)
	}
}
