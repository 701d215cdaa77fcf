package record

import (
	"fmt"
	"reflect"
	"testing"
)

type partsInner struct {
	People map[string]partsPerson `yaml:"people"`
}

type partsPerson struct {
	Keys []string `yaml:"keys"`
}

type partsDoc struct {
	Name       string `yaml:"name"`
	partsInner `yaml:",inline"`
	Labels     map[string]string `yaml:"labels,omitempty"`
}

// TestLargeMaps reads maps of every size around the parts in which they are decoded.
func TestLargeMaps(t *testing.T) {
	for _, n := range []int{1, mapPart - 1, mapPart, mapPart + 1, 2 * mapPart, 2*mapPart + 1, 5 * mapPart} {
		want := partsDoc{Name: "x", partsInner: partsInner{map[string]partsPerson{}}, Labels: map[string]string{}}
		for i := range n {
			want.People[fmt.Sprintf("p%d", i)] = partsPerson{Keys: []string{fmt.Sprintf("k%d", i)}}
			want.Labels[fmt.Sprintf("l%d", i)] = fmt.Sprintf("v%d", i)
		}
		data, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got partsDoc
		if err := DecodeStrict(data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d entries: %v, %d people, %d labels", n, err, len(got.People), len(got.Labels))
		}
		// A document is not changed by being read, and one that is wrong in its last
		// entry is refused.
		for _, last := range []string{"  zz: {keys: [1]}\n", "  zz: {keyz: [a]}\n", "  p0: {keys: [a]}\n"} {
			text := "people:\n"
			for _, name := range namesOf(want.People) {
				text += "  " + name + ": {keys: [k]}\n"
			}
			if err := DecodeStrict([]byte(text+last), &partsDoc{}); ReasonOf(err) == "" {
				t.Errorf("%d entries and %q: %v", n, last, err)
			}
		}
	}
}

func namesOf[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

// BenchmarkLargeMap reads as many people as a large company has.
func BenchmarkLargeMap(b *testing.B) {
	doc := partsDoc{Name: "x", partsInner: partsInner{map[string]partsPerson{}}}
	for i := range 10000 {
		doc.People[fmt.Sprintf("p%d", i)] = partsPerson{Keys: []string{"k"}}
	}
	data, err := Encode(doc)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := DecodeStrict(data, &partsDoc{}); err != nil {
			b.Fatal(err)
		}
	}
}
