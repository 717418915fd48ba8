"""Prompts in plain language are no dialect's, whatever punctuation their authors used."""

import pytest

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.prose import sentences
from filmgate.direction.migration.form import leaves

PLAIN = [
    # as Wan's own examples and expanders write
    "Edge lighting, medium close-up shot, daylight, left-heavy composition. A young girl sits in a field of tall grass,"
    " with two fluffy small donkeys standing behind her. The camera slowly pushes in.",
    "A black squirrel focuses on eating, occasionally looking around.",
    "The camera pulls back to show two men walking up the stairs. The man on the left supports the other.",
    "A model car moves on a wooden board, traveling from right to left across grass and wooden structures.",
    "Felt style. A small bear bakes bread in a tiny kitchen, warm colors, soft lighting.",
    "The scene ends as the sun sets. Shot scale: Wide shot, with the pyramid as the focal point.",
    "He stirs the soup and smiles at his daughter. Shot scale: medium shot. Camera movement: slow pan.",
    # brackets of prose
    "A person is petting an animal (not a cat).",
    "A man is shooting at the goal (soccer) while his friends cheer.",
    "Steam billows from the old 烟囱 (chimney) of the factory.",
    "The sign on the wall says [closed] in chalk.",
    "Two people (a man and a woman) dance in a hall, slowly, without looking at each other.",
    "A robot called R2 (the small one) opens the door, looks around, and leaves.",
    # colons
    "The truth dawns: he is caught in a loop.",
    "She whispers a warning: on her sixteenth birthday, everything will change.",
    "A neon sign reads: OPEN ALL NIGHT.",
    "It is 10:30 at night, and the clock strikes.",
    "A photograph in 16:9 hangs on the wall beside one in 4:3.",
    "The score is 2:1 when the whistle blows.",
    "Note: the ball never leaves the table.",
    "One thing is certain: nobody will sleep tonight.",
    "A dance in three parts: slow, fast, slow.",
    "Visit https://example.com/a?b=c to see where she was born.",
    # dashes, bars, hashes, signs
    "He stops -- and then he runs.",
    "A long road — no cars, no people — leads to the sea.",
    "The choice is his: stay or go; he goes.",
    "A chalkboard shows 2 + 2 = 4 and a smiling face.",
    "Room #12 is empty; the window is open.",
    "A boy shouts hooray! Then he jumps!",
    "A 50% off sign hangs in the window & nobody looks.",
    "A cup of coffee costs $4.50 at the *best* place in town.",
    "He is 1.85 m tall and weighs 80 kg.",
    "At f/2.8 the background melts away, the photographer says.",
    "An and/or gate glows on the circuit board.",
    "\"Wait,\" she says. \"The camera is still on.\"",
    "The word 'dolly' is written on a toy truck, and a crane stands in the pond.",
    # words of the field that are about something else
    "A crane lands beside the pond and a truck rolls past.",
    "The dancer turns left, moves forward and zooms past the camera crew.",
    "He holds the shot glass still, a soft smile on his face.",
    "A pan of hot oil tilts on the stove.",
    "The speed of the train increases as the lighting of the tunnel flickers.",
    "The subject of the painting is a camera on a tripod.",
    "A night club, a warm evening, a cool breeze.",
    # tags without weights, and fragments
    "a toilet, frozen in time",
    "Garden, zoom in.",
    "A beautiful coastal beach in spring, waves lapping on sand, in cyberpunk style",
    "a shark swimming in the ocean, tilt up",
    "an astronaut flying in space, with an intense shaking effect",
    "In a still frame, a stop sign",
    # other languages and scripts
    "一个木制玩具被轻轻放在一个盛满水的小碗上。镜头缓慢向前推进。",
    "边缘光，中近景，日光，左侧重构图。一个年轻的女孩坐在高草丛生的田野中，两条毛发蓬松的小毛驴站在她身后。",
    "夜晚，一只狗（黑色的）跑过桥；镜头不动。",
    "Ein Hund läuft über die Brücke: langsam, dann schnell.",
    "Une femme ouvre la porte ; il pleut dehors.",
    "كلب يركض على الشاطئ عند غروب الشمس.",
    "Собака бежит по пляжу: волны шумят.",
    "👩‍👩‍👧 A family walks 🏖️ along the beach, laughing.",
]  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_plain_language_is_read_as_prose(text):
    reading = read(text)
    assert [(segment.span, segment.dialect) for segment in reading.segments] == [((0, len(text)), "natural")]
    assert {leaf.dialect for _, leaf in leaves(reading.form)} == {"natural"}
    assert reading.form.emphasis == ()
    assert reading.form.negatives == ()
    assert reading.form.leftovers == ()


@pytest.mark.parametrize("text", PLAIN)
def test_no_word_of_plain_language_is_lost(text):
    """Every letter and digit lies inside a leaf, but for what joins terms."""
    covered = [False] * len(text)
    for _, leaf in leaves(read(text).form):
        covered[leaf.span[0] : leaf.span[1]] = [True] * (leaf.span[1] - leaf.span[0])
    lost = "".join(char for index, char in enumerate(text) if char.isalnum() and not covered[index])
    assert lost == ""


def test_sentences_end_at_full_stops_but_not_inside_quotation_marks_or_behind_titles():
    text = 'Dr. Lee waves. "Stop. Now." He leaves, e.g. today! 她走了。然后下雨。 A. B. Clark runs'
    assert [sentence.words for sentence in sentences(Excerpt.of(text))] == [
        "Dr. Lee waves.",
        '"Stop. Now." He leaves, e.g. today!',
        "她走了。",
        "然后下雨。",
        "A. B. Clark runs",
    ]


def test_terms_count_only_where_they_stand_alone():
    form = read(
        "Wide shot, a dog under a warm light, low angle. The camera pans to the left. The camera sees a dog."
    ).form
    assert [leaf.raw for leaf in form.shot] == ["Wide shot"]
    assert [leaf.raw for leaf in form.angle] == ["low angle"]
    assert [leaf.value for leaf in form.prose] == ["a dog under a warm light", "The camera sees a dog."]
    assert len(form.camera) == 1


def test_a_focal_length_and_an_aperture_are_known_by_their_units():
    form = read("A horse gallops, 50mm, f/1.8.").form
    assert [leaf.value.unit for leaf in (*form.lens, *form.focus)] == ["mm", "f"]
    assert [leaf.value for leaf in form.prose] == ["A horse gallops"]
