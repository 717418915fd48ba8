"""Every part of a form becomes a phrase or an entry with a reason, and the phrases become the official form."""

import pytest
from tests.direction.migration.forms import SEED, amount, leaf, move, term

from filmgate.direction.migration.composer import compose
from filmgate.direction.migration.conflicts import Decision, decide, find_conflicts
from filmgate.direction.migration.form import (
    Amount,
    Beat,
    CameraMove,
    Emphasis,
    Form,
    Light,
    Move,
    Subject,
    Term,
    leaves,
)
from filmgate.direction.migration.ledger import Entry, audit
from filmgate.direction.migration.renderer import render
from filmgate.direction.migration.vocabulary import SLOTS, vocabulary


def written(form, language="en", profile="text_to_video", policy="error"):
    made = compose(form, language, profile, decide(find_conflicts(form), policy))
    text = render(made, language)
    negative = ", ".join([*made.negatives, *made.unwanted])
    entries = [*made.entries, *(entry_of_parameter(path, part) for path, part in made.parameters)]
    return text, audit(form, entries, text, negative, {"seed": 1}, made.restated), made


def entry_of_parameter(path, part):
    return Entry(path=path, raw=part.raw, span=part.span, required=True, fate="moved_to_request", after="seed 1")


def say(form, **options):
    text, ledger, _ = written(form, **options)
    assert ledger.passed, (ledger.faults, ledger.invented)
    return text


def fates(form, **options):
    return {entry.path: entry.fate for entry in written(form, **options)[1].entries}


def test_the_example_of_the_guide_keeps_its_content_and_gains_none():
    text, ledger, _ = written(SEED)
    assert text == "Side lighting. The camera quickly dollies forward."
    assert ledger.coverage == ledger.precision == 1.0


def test_terms_come_first_in_the_order_of_the_official_form_whatever_the_order_of_the_source():
    form = Form(
        tone=(term("warm", at=1),),
        lens=(term("long", at=2),),
        composition=(term("center", at=3),),
        shot=(term("close_up", at=4),),
        lights=(Light(angle=term("side", at=5), quality=term("soft", at=6), source=term("daylight", at=7)),),
        time=(term("dusk", at=8),),
        style=(term("anime", at=9),),
        subjects=(Subject(name=leaf("a girl", at=10)),),
    )
    assert say(form) == (
        "Anime style, dusk time, daylight, soft lighting, side lighting, close-up shot, center composition, "
        "long-focus lens, warm colors. A girl."
    )


@pytest.mark.parametrize(
    ("slot", "name"), [(slot, name) for slot in SLOTS if slot != "easing" for name in vocabulary().terms[slot]]
)
def test_every_term_has_words_and_a_fate(slot, name):
    if slot in ("source", "quality", "contrast"):
        form = Form(lights=(Light(**{slot: term(name)}),))
    elif slot == "light_angle":
        form = Form(lights=(Light(angle=term(name)),))
    else:
        form = Form(**{slot: (term(name),)})
    assert say(form) == f"{vocabulary().write_term(slot, name)}."


@pytest.mark.parametrize("move_", vocabulary().moves, ids=str)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_rendered_move_is_read_back_as_that_move(move_, language):
    form = Form(camera=(CameraMove(move=leaf(move_, "x"), speed=leaf(Amount(value=9, full=10), "9")),))
    speedless = move_.kind in ("static", "handheld")
    if speedless:
        form = Form(camera=(CameraMove(move=leaf(move_, "x")),))
    text, ledger, _ = written(form, language)
    assert ledger.passed, ledger
    found = vocabulary().find_move(text)
    assert found.move == move_
    assert found.speed == (None if speedless else "very_fast")
    assert found.rest == ""


def test_subjects_actions_and_scene_are_one_sentence():
    form = Form(
        subjects=(Subject(name=leaf("ball", at=1), count=leaf(2, "2", 1), attributes=(leaf("red", at=2),)),),
        actions=(leaf("rolling to the right", at=3),),
        scene=(leaf("on grass", at=4),),
    )
    assert say(form) == "Two red balls rolling to the right on grass."


def test_words_before_and_behind_a_noun_and_its_article():
    looks = (leaf("old"), leaf("yellow raincoat"))
    form = Form(subjects=(Subject(name=leaf("A fisherman"), attributes=looks),), actions=(leaf("waits"),))
    assert say(form) == "An old fisherman, yellow raincoat, waits."


def test_sentences_that_their_author_ended_stay_sentences():
    assert say(Form(prose=(leaf("He stops."), leaf("He waits."), leaf("fog"), leaf("rain")))) == (
        "He stops. He waits. Fog, rain."
    )


def test_actions_belong_to_the_subject_that_they_follow():
    ball, cube = Subject(name=leaf("a ball", at=1)), Subject(name=leaf("A cube", at=5))
    apart = Form(subjects=(ball, cube), actions=(leaf("rolls", at=2), leaf("spins", at=6)))
    assert say(apart) == "A ball rolls, a cube spins."
    listed = Form(subjects=(ball, cube), actions=(leaf("rolls", at=7), leaf("spins", at=8)))
    assert say(listed) == "A ball and a cube, rolls, spins."


def test_moves_together_and_moves_in_turn():
    together = Form(camera=(move("pan", "left"), move("zoom", "in")))
    assert say(together) == "The camera pans left and zooms in at the same time."
    in_turn = Form(camera=(move("pan", "left", group=1), move("zoom", "in")))
    assert say(in_turn) == "The camera zooms in, then pans left."
    timed = Form(camera=(move("pan", "left", begin=amount(3, "s")), move("zoom", "in", begin=amount(0, "s"))))
    assert say(timed) == "The camera zooms in, then pans left."
    assert fates(timed)["camera[0].begin"] == "approximated"


def test_how_a_move_goes():
    form = Form(camera=(move("orbit", "left", magnitude=amount(360, "deg"), easing=term("in_out"), speed=amount(0.2)),))
    assert say(form) == "The camera very slowly orbits left all the way around with a gentle start and stop."


def test_a_stretch_of_time_is_a_sentence_of_its_own():
    beats = [
        Form(prose=(leaf("A man walks"),)),
        Form(camera=(move("zoom", "in"),), shot=(term("wide"),)),
        Form(prose=(leaf("Anna waves"),)),
    ]
    form = Form(timeline=tuple(Beat(content=beat, begin=amount(index, "s")) for index, beat in enumerate(beats)))
    assert say(form) == "First, a man walks. Then, wide shot. The camera zooms in. Finally, Anna waves."


def test_lights_with_side_and_role():
    form = Form(
        lights=(
            Light(role=leaf("key"), angle=term("side"), side=leaf("left")),
            Light(role=leaf("rim"), side=leaf("right")),
        )
    )
    assert say(form) == "Side lighting from the left, rim light from the right."


def test_weights_move_words_and_repeat_them():
    form = Form(
        prose=(leaf("a beach"), leaf("a red ball"), leaf("fog")),
        emphasis=(leaf(Emphasis(words="red ball", weight=1.3)), leaf(Emphasis(words="fog", weight=0.6))),
    )
    assert say(form) == "A red ball, a beach, subtle fog. Above all, a red ball."
    assert set(fates(form).values()) == {"kept_exact", "approximated"}


def test_a_weight_of_zero_is_a_wish_not_to_see():
    form = Form(prose=(leaf("a beach"), leaf("people")), emphasis=(leaf(Emphasis(words="people", weight=0)),))
    text, ledger, made = written(form)
    assert (text, made.unwanted, ledger.passed) == ("A beach.", ["people"], True)


def test_a_negation_is_moved_and_said_positively():
    text, ledger, made = written(Form(prose=(leaf("a beach"), leaf("no people"), leaf("no watermark"))))
    assert text == "A beach, nobody is around."
    assert made.unwanted == ["people", "watermark"]
    assert ledger.passed


def test_a_negation_within_a_list_is_moved_and_one_within_a_sentence_is_not():
    form = Form(
        subjects=(Subject(name=leaf("a robot, no hat", dialect="json")),),
        scene=(leaf("empty street, no people", dialect="json"),),
        actions=(leaf("He waits, no cars come.", dialect="json"),),
    )
    text, ledger, made = written(form)
    assert text == "A robot, he waits, no cars come, empty street. Nobody is around."
    assert made.unwanted == ["hat", "people"]
    assert ledger.passed


def test_what_wan_cannot_do_has_a_reason():
    form = Form(
        audio=(leaf("birds sing"),), boosters=(leaf("8k", required=False),), leftovers=(leaf("x=3"), leaf("wild card"))
    )
    text, ledger, _ = written(form)
    assert text == "Wild card."
    assert all(entry.reason for entry in ledger.entries if entry.fate in ("unsupported", "dropped"))
    assert ledger.passed


def test_image_to_video_says_motion_and_camera_only():
    form = Form(
        style=(term("anime"),), shot=(term("wide"),), subjects=(Subject(name=leaf("a girl")),), scene=(leaf("a park"),),
        lights=(Light(role=leaf("key"), side=leaf("left"), angle=term("side")),), actions=(leaf("she waves"),),
        camera=(move("pan", "left"),),
    )  # fmt: skip
    text, ledger, _ = written(form, profile="image_to_video")
    assert text == "She waves. The camera pans left."
    assert {entry.fate for entry in ledger.entries if "picture shows it" in entry.reason} == {"dropped"}
    assert ledger.passed


def test_text_in_the_picture_is_quoted_to_the_letter():
    assert say(Form(quoted=(leaf("50% OFF: [now] | today"),))) == 'The text "50% OFF: [now] | today" is visible.'


def test_chinese_is_written_in_chinese():
    form = Form(
        time=(term("night", "夜晚"),), subjects=(Subject(name=leaf("红球"), count=leaf(2, "2")),),
        actions=(leaf("向右滚动"),), scene=(leaf("在草地上"),), quoted=(leaf("促销"),),
        camera=(move("dolly", "in", "推近", speed=amount(2, full=10)),),
    )  # fmt: skip
    assert say(form, language="zh") == "夜晚。两个红球向右滚动，在草地上。画面中出现文字“促销”。镜头缓慢地向前推进。"


def test_near_words_are_approximated_and_others_are_synonyms():
    form = Form(
        shot=(term("medium_wide", "cowboy shot"),),
        tone=(term("cool", "cold tones"),),
        time=(term("night", "Night time"),),
    )
    assert fates(form) == {"shot[0]": "approximated", "tone[0]": "kept_synonym", "time[0]": "kept_exact"}


def test_policies_of_contradiction():
    form = Form(time=(term("day"), term("night", at=5)), camera=(move("static"), move("pan", "left", at=5)))
    assert say(form, policy="first") == "Day time. The camera remains still."
    assert say(form, policy="last") == "Night time. The camera pans left."
    assert say(form, policy="sequence") == "Day time, then night time. The camera remains still, then pans left."
    assert fates(form, policy="first")["time[1]"] == "conflict"


def test_nothing_is_written_twice():
    assert say(Form(time=(term("night"), term("night", at=4)), prose=(leaf("fog"), leaf("fog")))) == "Night time. Fog."


def test_every_leaf_has_exactly_one_entry():
    form = Form(
        lights=(Light(role=leaf("key"), side=leaf("left"), azimuth=amount(45, "deg"), kelvin=amount(5000, "kelvin")),),
        camera=(move("static", speed=amount(3)), move("handheld", magnitude=amount(5, "deg"))),
        lens=(amount(50, "mm"), amount(3, "s")), subjects=(Subject(name=leaf("|||"), count=leaf(2)),),
        scene=(leaf("..."),), quoted=(leaf(" "),), negatives=(leaf(","),),
    )  # fmt: skip
    for profile in ("text_to_video", "image_to_video"):
        made = compose(form, "en", profile, Decision())
        assert sorted(entry.path for entry in made.entries) == sorted(path for path, _ in leaves(form))


def test_a_ledger_that_lies_is_caught():
    form = Form(
        prose=(leaf("a red ball"),), negatives=(leaf("blur"),), quoted=(leaf("SALE"),), shot=(leaf(Term(name="wide")),)
    )

    def entry(path, fate, after="", reason=""):
        return Entry(path=path, raw="", span=(0, 1), required=True, fate=fate, after=after, reason=reason)

    honest = [entry("prose[0]", "kept_exact", "a red ball"), entry("negatives[0]", "moved_to_negative", "blur"),
              entry("quoted[0]", "kept_exact", "SALE"), entry("shot[0]", "kept_synonym", "wide shot")]  # fmt: skip
    good = audit(form, honest, 'Wide shot. A red ball. The text "SALE" is visible.', "blur", {}, ())
    assert good.passed
    lost = audit(form, honest, "Wide shot. A red ball.", "", {}, ())
    assert len(lost.faults) == 2
    assert not audit(form, honest[1:], 'Wide shot. A red ball. "SALE"', "blur", {}, ()).passed
    invented = audit(
        form, honest, 'Wide shot. A red ball and an executive. The text "SALE" is visible.', "blur", {}, ()
    )
    assert invented.invented == ("executive",)
    assert invented.precision < 1
    unexplained = [*honest[:3], entry("shot[0]", "dropped")]
    assert not audit(form, unexplained, 'A red ball. The text "SALE" is visible.', "blur", {}, ()).passed


def test_moves_may_be_told_apart_by_direction_alone():
    text = say(Form(camera=(move("pan", "left"),)))
    assert vocabulary().find_move(text).move == Move(kind="pan", direction="left")
    assert vocabulary().find_move(text.replace("left", "right")).move == Move(kind="pan", direction="right")


def test_other_scripts_do_not_run_together_in_chinese():
    form = Form(subjects=(Subject(name=leaf("Anna")), Subject(name=leaf("Rex"))), actions=(leaf("walks"), leaf("挥手")))
    assert say(form, language="zh") == "Anna和Rex walks，挥手。"
    eased = Form(camera=(move("crane", "down", easing=leaf("0'")), move("pan", "left", easing=leaf("'"))))
    assert say(eased, language="zh") == "镜头0'升降机下降，同时向左摇。"


@pytest.mark.parametrize("words", ["iso: 800, shutter: 180", "gain=3dB", "Motion Bucket: 127"])
def test_keys_with_numbers_that_nobody_knows_do_not_become_words(words):
    text, ledger, _ = written(Form(prose=(leaf("a dog"), leaf(words))))
    assert text == "A dog."
    assert ledger.of("unsupported")[0].reason
    assert ledger.passed


@pytest.mark.parametrize("words", ["Chapter one: the fall", "at 10:30 he leaves", "two dogs, three cats"])
def test_numbers_in_prose_are_prose(words):
    assert say(Form(prose=(leaf(words),)))


@pytest.mark.parametrize(
    ("words", "weights", "text", "unwanted"),
    [
        ("red car, rain", {"red": 1.5, "rain": -1}, "Red car. Above all, red.", ["rain"]),
        ("a red car on a wet road", {"wet": 0}, "A red car on a road.", ["wet"]),
        (
            "A red car drives on a road, fog",
            {"red": 1.3, "fog": 0.5},
            "A red car drives on a road, subtle fog. Above all, red.",
            [],
        ),
        ("a red car", {"a red car": 0}, "", ["a red car"]),
    ],
)
def test_a_weight_changes_the_weighted_words_alone(words, weights, text, unwanted):
    emphasis = tuple(leaf(Emphasis(words=word, weight=weight)) for word, weight in weights.items())
    made_text, ledger, made = written(Form(prose=(leaf(words),), emphasis=emphasis))
    assert (made_text, made.unwanted, ledger.passed) == (text, unwanted, True)


def test_nested_weights_multiply():
    emphasis = tuple(leaf(Emphasis(words="deep", weight=1.1)) for _ in range(4))
    assert say(Form(prose=(leaf("deep sea"),), emphasis=emphasis)) == "Deep sea. Above all, deep."


@pytest.mark.parametrize(
    ("words", "text", "unwanted"),
    [
        ("no people; no cars", "Nobody is around, the roads are empty.", ["people", "cars"]),
        ("a beach, no people, no cars", "A beach, nobody is around, the roads are empty.", ["people", "cars"]),
        ("a street without people", "A street, nobody is around.", ["people"]),
        ("Without a word, he leaves", "Without a word, he leaves.", []),
    ],
)
def test_each_negation_of_a_list_counts(words, text, unwanted):
    made_text, ledger, made = written(Form(prose=(leaf(words),)))
    assert (made_text, made.unwanted, ledger.passed) == (text, unwanted, True)


def test_chinese_negations_leave_their_subject():
    text, ledger, made = written(Form(prose=(leaf("没有人的海滩"), leaf("没有人"))), "zh")
    assert (text, made.unwanted, ledger.passed) == ("没有人的海滩，空无一人。", ["人"], True)


@pytest.mark.parametrize(("policy", "words"), [("first", "Two cats."), ("last", "Three cats.")])
def test_a_count_and_a_number_in_the_name(policy, words):
    def cats(count):
        return Form(subjects=(Subject(name=leaf("two cats", at=1), count=leaf(count, str(count), 2)),))

    assert say(cats(2)) == "Two cats."
    assert say(cats(3), policy=policy) == words
    chinese = Form(subjects=(Subject(name=leaf("两只猫"), count=leaf(2, "2")),))
    assert say(chinese, language="zh") == "两只猫。"
