package record

import (
	"gopkg.in/yaml.v3"
)

// MaxName is the most bytes of a name in a record: a person's, a resource's, a
// role's; more than a policy's names have, and few enough to be shown. What a name
// may look like is the policy's matter.
const MaxName = 128

// headKeys are the keys of [Head] in their order.
var headKeys = []struct {
	name     string
	optional bool
}{
	{name: "apiVersion"}, {name: "kind"}, {name: "id"}, {name: "store", optional: true},
	{name: "head", optional: true}, {name: "created"}, {name: "by"},
}

// headOf reads the head from the document's top node.
func headOf(root *yaml.Node, data []byte) (Head, error) {
	version := valueOf(root, "apiVersion")
	switch {
	case version == nil:
		return Head{}, refuse(ReasonBadVersion, "there is no apiVersion").at(1, 1)
	case version.Kind != yaml.ScalarNode || version.Value != APIVersion:
		return Head{}, refuse(ReasonBadVersion, "apiVersion is %q, this version of jit reads %q", clip(version.Value), APIVersion).
			at(version.Line, version.Column)
	}
	next := 0
	part := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: root.Line, Column: root.Column}
	for _, k := range headKeys {
		if 2*next < len(root.Content) && root.Content[2*next].Value == k.name {
			part.Content = append(part.Content, root.Content[2*next], root.Content[2*next+1])
			next++
			continue
		}
		if found := valueOf(root, k.name); found != nil {
			return Head{}, refuse(ReasonBadValue, "key %q stands in the wrong place: the head comes first and in order", k.name).
				at(found.Line, found.Column)
		}
		if !k.optional {
			return Head{}, refuse(ReasonMissingField, "there is no %q", k.name).at(root.Line, root.Column)
		}
	}
	var h Head
	if err := decodeNode(part, &h); err != nil {
		return Head{}, err
	}
	if n := valueOf(root, "head"); n != nil && (len(h.Head) != 40 && len(h.Head) != 64 || !isHex(h.Head)) {
		return Head{}, refuse(ReasonBadValue, "head %q is no commit", clip(h.Head)).at(n.Line, n.Column)
	}
	n := valueOf(root, "by")
	if err := checkLine("by", h.By, MaxName); err != nil {
		return Head{}, refuse(ReasonOf(err), "%v", err).at(n.Line, n.Column)
	}
	if h.Kind != KindPolicy && len(data) > maxSmall {
		return Head{}, refuse(ReasonTooLarge, "%d bytes are more than %d for a %s", len(data), maxSmall, h.Kind)
	}
	return h, nil
}

// valueOf gives the value of a key in the map n, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
