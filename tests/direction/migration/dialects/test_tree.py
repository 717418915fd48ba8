"""Objects as people write them by hand: what is forgiven, what is refused, and where every value stands."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.direction.migration.dialects.excerpt import Excerpt, sheltered, shelters
from filmgate.direction.migration.dialects.tree import Listing, Mapping, Node, Scalar, read_object, read_yaml


def plain(node: Node) -> object:
    """A node as Python's own values; the last of equal names counts."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return {key.words: plain(value) for key, value in node.entries}


def parse(text: str) -> object:
    """The object that a text is."""
    found = read_object(Excerpt.of(text), 0)
    assert found is not None
    assert found[1] == len(text)
    return plain(found[0])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e6, 1e6) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=10), _JSON, max_size=4) | st.lists(_JSON, max_size=4), st.booleans())
def test_all_json_is_read(value, ascii_only):
    for indent in (None, 2):
        assert parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10), _JSON, max_size=4))
def test_literals_of_python_are_read(value):
    printable = json.loads(json.dumps(value))
    text = repr(printable)
    if "\\x" not in text and "\\U" not in text:
        assert parse(text) == printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a: b}", {"a": "b"}),
        ("{a: two words, c: 3}", {"a": "two words", "c": 3}),
        ("{'a': True, 'b': None, 'c': (1, 2),}", {"a": True, "b": None, "c": [1, 2]}),
        ('{"a": 1, // note\n "b": 2, /* more */ "c": 3 # end\n}', {"a": 1, "b": 2, "c": 3}),
        ('{"a" = 1, "b" => 2}', {"a": 1, "b": 2}),
        ('{"a": 1\n"b": 2}', {"a": 1, "b": 2}),
        ("[1, .5, -2e3, 007x]", [1, 0.5, -2000.0, "007x"]),
        ('{"a": "1:2", "b": "{not an object}"}', {"a": "1:2", "b": "{not an object}"}),
        ("{}", {}),
    ],
)
def test_what_is_forgiven(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["{", "{a}", "{a:}", '{"a": 1', "{1: }", "(", "{{a: b}", "[" * 60 + "]" * 60])
def test_what_is_no_object(text):
    assert read_object(Excerpt.of(text), 0) is None


def test_values_stand_where_they_stand():
    text = 'x = {"a": "two words", b: [10, \'c\']}'
    found = read_object(Excerpt.of(text), 4)
    assert found is not None
    node = found[0]
    assert isinstance(node, Mapping)
    (_, first), (key, second) = node.entries
    assert text[first.excerpt.start : first.excerpt.end] == "two words"
    assert key.words == "b"
    assert isinstance(second, Listing)
    assert [text[item.excerpt.start : item.excerpt.end] for item in second.items] == ["10", "c"]


def test_yaml_and_where_its_values_stand():
    text = "a: 'it''s'  # note\nb:\n  - 1.5\n  - |\n    two\n    lines\nc: ~\nd: yes sir\n"
    node = read_yaml(Excerpt.of(text))
    assert node is not None
    assert plain(node) == {"a": "it's", "b": [1.5, "two\nlines\n"], "c": None, "d": "yes sir"}
    assert all(0 <= value.excerpt.start <= value.excerpt.end <= len(text) for _, value in node.entries)


@pytest.mark.parametrize(
    "text", ["a: &x 1\nb: *x\n", "a: !!python/name:os.system x\n", "a: !own 1\n", "- a\n- b\n", "a: [", "\x07"]
)
def test_yaml_that_is_refused(text):
    found = read_yaml(Excerpt.of(text))
    assert found is None or "python" not in str(plain(found))


@settings(deadline=None)
@given(st.text(st.sampled_from('ab([{"“”}])\\ '), max_size=40))
def test_shelters_are_in_order_apart_and_closed(text):
    found = shelters(text)
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(found))
    for index in range(len(text)):
        assert sheltered(found, index) == any(start < index < end for start, end in found)


def test_a_part_of_what_was_taken_apart_still_points_at_its_place():
    excerpt = Excerpt.of("a (red:1.2) ball").without([(2, 3), (6, 11)])
    assert excerpt.words == "a red ball"
    part = excerpt.part(2, 10)
    assert (part.words, part.start, part.end) == ("red ball", 3, 16)
    assert part.strip("rl").words == "ed ba"
