"""The words that captions of the toy world are made of. Data only; the sentences are built in ``captions``.

The first entry of each list is the canonical word. Verbs are (third person, plural, -ing form).
"""

from __future__ import annotations

Verb = tuple[str, str, str]

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "red", "crimson", "scarlet", "ruby", "bright red", "deep red", "cherry red", "ruby red"),
    "orange": ("orange", "orange", "orange", "bright orange", "tangerine", "amber", "pumpkin orange"),
    "yellow": ("yellow", "yellow", "yellow", "golden yellow", "bright yellow", "lemon yellow", "golden", "gold"),
    "green": ("green", "green", "green", "emerald", "emerald green", "bright green", "dark green", "forest green"),
    "cyan": ("cyan", "cyan", "turquoise", "teal", "aqua", "turquoise blue", "aquamarine"),
    "blue": (
        "blue", "blue", "blue", "azure", "navy", "navy blue", "deep blue", "cobalt", "royal blue", "dark blue",
    ),
    "purple": ("purple", "purple", "purple", "violet", "indigo", "deep purple", "plum", "lilac", "lavender"),
    "pink": ("pink", "pink", "pink", "rose", "magenta", "hot pink", "rosy", "bright pink", "salmon pink"),
    "white": ("white", "white", "white", "snow white", "pure white", "ivory", "pale", "milky white"),
    "black": ("black", "black", "black", "jet black", "pitch black", "ebony", "dark black", "coal black"),
}  # fmt: skip
SHAPES: dict[str, tuple[tuple[str, str], ...]] = {
    "ball": (
        ("ball", "balls"), ("ball", "balls"), ("sphere", "spheres"), ("orb", "orbs"), ("globe", "globes"),
        ("marble", "marbles"), ("round ball", "round balls"), ("bowling ball", "bowling balls"), ("bead", "beads"),
    ),
    "cube": (
        ("cube", "cubes"), ("cube", "cubes"), ("box", "boxes"), ("block", "blocks"), ("crate", "crates"),
        ("square block", "square blocks"), ("square box", "square boxes"), ("brick", "bricks"), ("die", "dice"),
    ),
    "cylinder": (
        ("cylinder", "cylinders"), ("cylinder", "cylinders"), ("can", "cans"), ("barrel", "barrels"),
        ("drum", "drums"), ("column", "columns"), ("pillar", "pillars"), ("tube", "tubes"), ("tin can", "tin cans"),
    ),
    "cone": (
        ("cone", "cones"), ("cone", "cones"), ("traffic cone", "traffic cones"), ("spike", "spikes"),
        ("pointed cone", "pointed cones"), ("party hat", "party hats"), ("pointy hat", "pointy hats"),
    ),
    "capsule": (
        ("capsule", "capsules"), ("capsule", "capsules"), ("pill", "pills"), ("rounded pillar", "rounded pillars"),
    ),
    "pyramid": (
        ("pyramid", "pyramids"), ("pyramid", "pyramids"), ("tent", "tents"), ("square pyramid", "square pyramids"),
    ),
    "sign": (
        ("sign", "signs"), ("road sign", "road signs"), ("signboard", "signboards"),
        ("sign on a post", "signs on posts"),
        ("sign without text", "signs without text"),
    ),
    "robot": (
        ("robot", "robots"), ("robot", "robots"), ("toy robot", "toy robots"),
        ("android", "androids"),
    ),
    "doll": (("doll", "dolls"), ("doll", "dolls"), ("toy figure", "toy figures"), ("puppet", "puppets")),
}  # fmt: skip
MATERIALS: dict[str, tuple[str, ...]] = {
    "plain": ("", "", "", "", "", "", "plain", "matte", "smooth", "solid", "plastic", "rubber"),
    "striped": ("striped", "striped", "stripy", "banded", "striped"),
    "metal": ("metallic", "shiny", "metal", "chrome", "polished", "shining", "steel", "glossy"),
    "checkered": ("checkered", "checkered", "chequered", "checked", "checkerboard"),
    "glowing": ("glowing", "glowing", "luminous", "radiant"),
}  # fmt: skip
SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny", "mini", "miniature", ""),
    "medium": ("", "", "", "", "medium", "medium-sized", "mid-sized"),
    "large": ("large", "large", "big", "big", "huge", "giant", "massive", "enormous", ""),
}  # fmt: skip
GO: tuple[Verb, ...] = (
    ("moves", "move", "moving"), ("slides", "slide", "sliding"), ("glides", "glide", "gliding"),
    ("drifts", "drift", "drifting"), ("travels", "travel", "traveling"), ("goes", "go", "going"),
    ("passes", "pass", "passing"), ("heads", "head", "heading"), ("speeds", "speed", "speeding"),
)  # fmt: skip
ROLL: tuple[Verb, ...] = (("rolls", "roll", "rolling"), ("tumbles", "tumble", "tumbling"))
DIRECTIONS: dict[str, tuple[str, ...]] = {
    "left": (
        "left", "to the left", "leftwards", "from right to left", "toward the left", "towards the left side",
        "to the left side", "leftward", "across to the left",
    ),
    "right": (
        "right", "to the right", "rightwards", "from left to right", "toward the right", "towards the right side",
        "to the right side", "rightward", "across to the right",
    ),
    "toward": (
        "toward us", "towards the camera", "toward the camera", "closer", "closer to the viewer", "forward",
        "towards the viewer", "nearer", "closer to us", "toward the viewer",
    ),
    "away": (
        "away", "away from the camera", "into the distance", "away from us", "backward", "farther away",
        "off into the distance", "further away",
    ),
}  # fmt: skip
MOTIONS: dict[str, tuple[Verb, ...]] = {
    "still": (
        ("sits still", "sit still", "sitting still"), ("rests", "rest", "resting"), ("stands", "stand", "standing"),
        ("stands still", "stand still", "standing still"), ("is not moving", "are not moving", "not moving"),
        ("stays in place", "stay in place", "staying in place"), ("sits", "sit", "sitting"),
        ("lies there", "lie there", "lying there"), ("waits", "wait", "waiting"),
        ("is at rest", "are at rest", "at rest"), ("remains still", "remain still", "remaining still"),
    ),
    "toward": (("approaches", "approach", "approaching"), ("comes closer", "come closer", "coming closer")),
    "away": (("recedes", "recede", "receding"), ("moves off", "move off", "moving off")),
    "bounce": (
        ("bounces", "bounce", "bouncing"), ("hops", "hop", "hopping"),
        ("bounces up and down", "bounce up and down", "bouncing up and down"), ("jumps", "jump", "jumping"),
        ("jumps up and down", "jump up and down", "jumping up and down"), ("leaps", "leap", "leaping"),
    ),
    "spin": (
        ("spins", "spin", "spinning"), ("rotates", "rotate", "rotating"),
        ("turns in place", "turn in place", "turning in place"), ("spins around", "spin around", "spinning around"),
        ("twirls", "twirl", "twirling"), ("revolves", "revolve", "revolving"), ("whirls", "whirl", "whirling"),
    ),
    "rise": (
        ("rises", "rise", "rising"), ("floats up", "float up", "floating up"),
        ("lifts off", "lift off", "lifting off"), ("floats upward", "float upward", "floating upward"),
        ("goes up", "go up", "going up"), ("ascends", "ascend", "ascending"),
        ("levitates", "levitate", "levitating"), ("rises into the air", "rise into the air", "rising into the air"),
    ),
    "fall": (
        ("falls", "fall", "falling"), ("falls from above", "fall from above", "falling from above"),
        ("drops down", "drop down", "dropping down"), ("drops", "drop", "dropping"),
        ("comes down", "come down", "coming down"),
        ("falls onto the ground", "fall onto the ground", "falling onto the ground"),
        ("falls from the sky", "fall from the sky", "falling from the sky"), ("descends", "descend", "descending"),
    ),
    "circle": (
        ("moves in a circle", "move in a circle", "moving in a circle"),
        ("goes round in a circle", "go round in a circle", "going round in a circle"),
        ("circles", "circle", "circling"),
        ("goes around in circles", "go around in circles", "going around in circles"),
    ),
    "rebound": (("rolls", "roll", "rolling"), ("rolls over", "roll over", "rolling over")),
    "wave": (
        ("waves", "wave", "waving"), ("waves a hand", "wave a hand", "waving a hand"),
        ("waves its arm", "wave their arms", "waving its arm"), ("waves at us", "wave at us", "waving at us"),
    ),
}  # fmt: skip
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of", "on the left of", "on the left side of", "beside, to the left of"),
    "right of": (
        "to the right of", "right of", "on the right of", "on the right side of", "beside, to the right of",
    ),
    "behind": ("behind", "in back of", "farther away than", "beyond"),
    "in front of": ("in front of", "before", "nearer than", "closer than"),
    "on top of": ("on top of", "on", "stacked on", "on top of", "standing on"),
    "follows": ("behind", "after", "following", "right behind", "in pursuit of"),
    "bounces off": ("into", "against", "up to"),
}  # fmt: skip
PAST: dict[str, tuple[str, ...]] = {
    "behind": ("past", "behind", "by", "past and behind", "passing behind"),
    "in front of": ("past", "in front of", "by", "passing in front of"),
}  # fmt: skip
CAMERAS: dict[str, tuple[str, ...]] = {
    "static": (
        "static camera", "the camera is still", "fixed shot", "locked-off camera", "the camera does not move",
        "static shot", "still camera",
    ),
    "pan left": (
        "the camera pans left", "camera pans to the left", "the camera turns left", "panning left", "pan left",
        "the view pans left", "camera pan left",
    ),
    "pan right": (
        "the camera pans right", "camera pans to the right", "the camera turns right", "panning right", "pan right",
        "the view pans right", "camera pan right",
    ),
    "tilt up": (
        "the camera tilts up", "camera tilts upward", "the camera looks up", "tilting up", "tilt up",
        "camera tilt up",
    ),
    "tilt down": (
        "the camera tilts down", "camera tilts downward", "the camera looks down", "tilting down", "tilt down",
        "camera tilt down",
    ),
    "dolly in": (
        "the camera dollies in", "the camera moves forward", "camera pushes in", "the camera moves in", "dolly in",
        "push in", "the camera moves closer", "tracking in", "camera dolly in",
    ),
    "dolly out": (
        "the camera dollies out", "the camera moves backward", "camera pulls back", "the camera pulls out",
        "dolly out", "pull back", "the camera moves back", "tracking out", "camera dolly out",
    ),
    "truck left": (
        "the camera trucks left", "camera slides left", "the camera tracks left", "the camera moves left",
        "trucking left", "truck left", "camera moves sideways to the left",
    ),
    "truck right": (
        "the camera trucks right", "camera slides right", "the camera tracks right", "the camera moves right",
        "trucking right", "truck right", "camera moves sideways to the right",
    ),
    "orbit left": (
        "the camera orbits left", "camera circles to the left", "the camera arcs left", "orbiting left",
        "orbit left", "the camera moves around to the left", "arc shot to the left",
    ),
    "orbit right": (
        "the camera orbits right", "camera circles to the right", "the camera arcs right", "orbiting right",
        "orbit right", "the camera moves around to the right", "arc shot to the right",
    ),
    "crane up": (
        "the camera cranes up", "camera rises", "the camera moves up", "crane up", "the camera lifts",
        "rising camera", "crane shot up", "the camera goes up",
    ),
    "crane down": (
        "the camera cranes down", "camera lowers", "the camera moves down", "crane down", "the camera sinks",
        "lowering camera", "crane shot down", "the camera descends",
    ),
    "pedestal up": (
        "the camera pedestals up", "the camera moves straight up", "camera rises straight up", "pedestal up",
        "the camera moves upward", "the camera ascends",
    ),
    "pedestal down": (
        "the camera pedestals down", "the camera moves straight down", "camera sinks straight down", "pedestal down",
        "the camera moves downward", "the camera descends",
    ),
    "roll clockwise": (
        "the camera rolls clockwise", "camera rolls to the right", "rolling clockwise", "camera roll clockwise",
        "the camera rotates clockwise",
    ),
    "roll counterclockwise": (
        "the camera rolls counterclockwise", "camera rolls to the left", "rolling counterclockwise",
        "camera roll counterclockwise", "the camera rotates counterclockwise",
    ),
    "zoom in": ("the camera zooms in", "the lens zooms in", "zoom in", "zooming in", "camera zoom in"),
    "zoom out": ("the camera zooms out", "the lens zooms out", "zoom out", "zooming out", "camera zoom out"),
    "handheld": (
        "handheld camera", "the camera shakes slightly", "handheld shot", "shaky handheld camera",
        "the camera is held by hand",
    ),
    "follow": (
        "the camera follows the subject", "the camera follows it", "tracking shot", "the camera tracks the subject",
        "the camera keeps up with it",
    ),
    "free": ("",),
}  # fmt: skip
GROUNDS: dict[str, tuple[str, ...]] = {
    "grass": (
        "on grass", "on a green lawn", "in a meadow", "on the grass", "in a grassy field", "on a lawn",
        "in a green field",
    ),
    "sand": (
        "on sand", "on a beach", "in the desert", "on the sand", "on a sandy beach", "in a sandy desert",
        "on the beach",
    ),
    "snow": ("on snow", "in a snowy field", "in the snow", "on the snow", "in a snowy landscape", "in winter"),
    "tiles": (
        "on a tiled floor", "on checkered tiles", "on tiles", "on a checkered floor", "on a checkerboard floor",
        "on brown tiles",
    ),
    "stripes": (
        "on a striped floor", "on stripes", "on a striped ground", "on grey stripes", "on a floor with stripes",
    ),
    "dirt": (
        "on dirt", "on bare earth", "on brown soil", "on the ground", "on dusty ground", "on muddy ground",
        "on soil",
    ),
    "asphalt": ("on asphalt", "on a road", "on a street", "on dark asphalt", "on tarmac"),
    "wood": ("on a wooden floor", "on wooden planks", "on floorboards", "on wood", "on a stage of planks"),
}  # fmt: skip
LIGHTS: dict[str, tuple[str, ...]] = {
    "noon": (
        "at noon", "on a sunny day", "in bright daylight", "under a clear blue sky", "in the sunshine", "at midday",
        "in daylight", "daytime", "sunny",
    ),
    "sunset": (
        "at sunset", "at golden hour", "in the evening", "at dusk", "under an orange sky", "in the evening light",
        "at sundown", "sunset", "in warm evening light",
    ),
    "night": (
        "at night", "in moonlight", "under a night sky", "in the dark", "under the moon", "at midnight", "night",
        "in the moonlight", "nighttime",
    ),
    "overcast": (
        "on a cloudy day", "under an overcast sky", "under grey clouds", "under a gray sky", "in soft light",
        "cloudy", "overcast", "on a gray day",
    ),
    "sunrise": (
        "at sunrise", "at dawn", "in the early morning", "at daybreak", "under a pink sky", "in morning light",
        "sunrise",
    ),
    "dusk": (
        "at dusk", "at twilight", "in the blue hour", "after sundown", "at nightfall", "under a violet sky", "dusk",
    ),
    "firelight": ("by firelight", "in the light of a fire", "lit by a fire", "in the glow of a campfire", "firelit"),
    "studio": ("in a studio", "under a studio lamp", "under a spotlight", "in a dark studio", "in the studio"),
    "neon": ("in neon light", "under neon lights", "in pink and blue neon light", "lit by neon signs", "neon lit"),
    "fluorescent": (
        "under fluorescent light", "under fluorescent tubes", "in a hall with fluorescent tubes",
        "in fluorescent light",
    ),
}  # fmt: skip
WALK: tuple[Verb, ...] = (
    ("walks", "walk", "walking"), ("walks", "walk", "walking"), ("strolls", "stroll", "strolling"),
    ("marches", "march", "marching"), ("goes", "go", "going"),
)  # fmt: skip
"""What characters do where others roll and slide."""
UPRIGHT: tuple[Verb, ...] = (
    ("stands still", "stand still", "standing still"), ("stands", "stand", "standing"),
    ("is not moving", "are not moving", "not moving"), ("stays in place", "stay in place", "staying in place"),
    ("waits", "wait", "waiting"), ("remains still", "remain still", "remaining still"),
)  # fmt: skip
"""How figures rest: they neither sit nor lie."""
OFF = ("and bounces off", "and bounces back", "and bounces back again", "and is thrown back")
FOLLOWED = ("follows", "follows", "comes after", "goes after", "chases")
HATS = ("with a {} hat", "in a {} hat", "wearing a {} hat", "with a pointed {} hat")
WEATHERS: dict[str, tuple[str, ...]] = {
    "clear": ("",),
    "mist": ("in the mist", "in fog", "in misty air", "in the haze", "misty", "on a foggy day"),
}
PACES: dict[str, tuple[str, ...]] = {
    "normal": ("", "", "", "steadily", "smoothly"),
    "slow": ("slowly", "slowly", "gently", "very slowly"),
    "fast": ("quickly", "quickly", "fast", "rapidly"),
}
"""Adverbs of a camera whose pace is labelled."""
RICH_CAMERAS: dict[str, tuple[str, ...]] = {
    **CAMERAS,
    "dolly in": (*CAMERAS["dolly in"], "the camera pushes in"),
    "dolly out": (*CAMERAS["dolly out"], "the camera pulls back"),
    "crane up": ("the camera cranes up", "crane up", "crane shot up", "the camera booms up", "jib up"),
    "crane down": ("the camera cranes down", "crane down", "crane shot down", "the camera booms down", "jib down"),
}
"""Where a pedestal is something else, a crane is not said to move up only; dollies also as Wan's prompts have them."""
RICH_LIGHTS: dict[str, tuple[str, ...]] = {
    **LIGHTS,
    "sunset": (
        "at sunset",
        "at golden hour",
        "in the evening sun",
        "under an orange sky",
        "in the evening light",
        "sunset",
        "in warm evening light",
    ),
}
"""Where dusk is something else, a sunset is not called so."""
ABOVE = ("sky", "sun ", "sunny day", "sunshine", "moon", "clouds")
"""Words of what is only seen in a clear sky, and by a camera that does not look down."""
DAYTIMES = {
    "noon": ("day time", "noon time"), "sunset": ("sunset time",), "night": ("night time",),
    "sunrise": ("sunrise time", "dawn time"), "dusk": ("dusk time",),
}  # fmt: skip
"""Lights as Wan's expander writes them, among other tags."""
AESTHETICS: dict[str, dict[str, tuple[str, ...]]] = {
    "source": {
        "sunny": ("sunny lighting", "daylight", "clear sky light"), "overcast": ("overcast lighting",),
        "moonlight": ("moonlight",), "firelight": ("firelight",), "artificial": ("artificial lighting",),
        "neon": ("neon lighting", "mixed lighting"), "fluorescent": ("fluorescent lighting",),
    },
    "quality": {"hard": ("hard lighting", "hard light"), "soft": ("soft lighting", "soft light")},
    "light_angle": {
        "top": ("top lighting", "top light"), "side": ("side lighting", "side light"),
        "back": ("edge lighting", "backlighting", "rim light"), "front": ("front lighting", "front light"),
    },
    "tone": {
        "warm": ("warm colors", "warm tones"), "cool": ("cool colors", "cool tones"), "mixed": ("mixed colors",),
        "saturated": ("saturated colors", "high saturation"), "desaturated": ("desaturated colors", "low saturation"),
    },
    "shot": {
        "close-up": ("close-up shot", "close-up"), "medium": ("medium shot",), "full": ("full shot", "full body shot"),
        "wide": ("wide shot", "long shot"), "extreme wide": ("extreme wide shot", "extreme long shot"),
    },
    "angle": {
        "eye-level": ("eye-level shot", "at eye level"), "low": ("low angle shot", "low angle"),
        "high": ("high angle shot", "high angle"), "overhead": ("overhead shot", "top-down shot"),
        "dutch": ("dutch angle shot", "dutch angle", "tilted angle"),
    },
    "composition": {
        "center": ("center composition", "centered composition"),
        "left-heavy": ("left-heavy composition", "left-weighted"),
        "right-heavy": ("right-heavy composition", "right-weighted"), "balanced": ("balanced composition",),
        "symmetrical": ("symmetrical composition",),
    },
    "lens": {
        "medium": ("medium-focus lens", "normal lens"), "wide-angle": ("wide-angle lens",),
        "long-focus": ("long-focus lens", "telephoto lens"),
    },
}  # fmt: skip
"""Wan 2.2's words for how a shot is lit and taken (its prompt expander's lists), by slot and name."""
RICH_ADORNMENTS = (
    "high quality", "beautiful", "realistic", "detailed", "4k", "simple scene", "smooth motion", "best quality",
    "masterpiece", "peaceful", "minimal", "3d render", "calm atmosphere",
)  # fmt: skip
"""What says nothing of the picture, even where shots have sizes."""
OPENINGS = (
    "a video of", "a clip of", "a clip showing", "a shot of", "we see", "there is", "a scene with", "footage of",
    "video of", "an animation of", "a short film of", "imagine", "show me",
)  # fmt: skip
ADORNMENTS = (
    "high quality", "beautiful", "cinematic", "realistic", "detailed", "4k", "simple scene", "smooth motion",
    "best quality", "masterpiece", "slow", "peaceful", "minimal", "3d render", "wide shot", "calm atmosphere",
)  # fmt: skip
SPEEDS = ("slowly", "quickly", "gently", "smoothly", "steadily", "")
"""Adverbs that captions use freely; this world's speeds are not labelled."""
NUMBERS = {
    2: ("two", "two", "a pair of", "2", "a couple of"),
    3: ("three", "three", "3", "a trio of", "a group of three"),
}
GROUPED = ("side by side", "in a row", "next to each other", "together", "")
CONNECTIVES = (
    "a", "an", "the", "and", "with", "is", "are", "of", "to", "in", "on", "at", "also", "nearby", "while", "as",
    "its", "it", "that", "which", "another", "one",
)  # fmt: skip
COMMON_WORDS = (
    "this", "there", "these", "those", "then", "than", "from", "for", "by", "up", "down", "out", "over", "under",
    "above", "below", "near", "far", "off", "onto", "into", "through", "around", "along", "across", "between",
    "against", "very", "more", "most", "some", "any", "each", "all", "both", "many", "few", "no", "not", "only",
    "just", "still", "slowly", "fast", "quick", "quickly", "slow", "gentle", "gently", "smooth", "smoothly",
    "bright", "dark", "light", "shadow", "shadows", "sun", "moon", "star", "stars", "sky", "cloud", "clouds",
    "wind", "rain", "fog", "mist", "morning", "afternoon", "day", "evening", "time", "hour", "summer", "winter",
    "spring", "autumn", "warm", "cold", "hot", "cool", "soft", "hard", "wide", "close", "long", "short", "tall",
    "high", "low", "old", "new", "young", "good", "great", "nice", "pretty", "lovely", "quiet", "empty", "full",
    "open", "clear", "clean", "camera", "shot", "view", "frame", "scene", "film", "movie", "picture", "image",
    "photo", "video", "clip", "lens", "focus", "zoom", "zooms", "motion", "movement", "background", "foreground",
    "middle", "center", "side", "left", "right", "front", "back", "top", "bottom", "edge", "corner", "ground",
    "floor", "field", "road", "street", "path", "hill", "hills", "mountain", "mountains", "horizon", "landscape",
    "water", "sea", "lake", "river", "forest", "tree", "trees", "flower", "city", "house", "room", "table", "wall",
    "person", "man", "woman", "child", "dog", "cat", "bird", "car", "boat", "toy", "toys", "object", "objects",
    "thing", "things", "colour", "color", "colored", "coloured", "shade", "shape", "shapes", "size", "stripes",
    "striped", "spinning", "moving", "rolling", "flying", "swimming", "walking", "running", "jumping", "dancing",
    "falling", "stands", "sits", "lies", "stays", "keeps", "starts", "stops", "begins", "ends", "turns", "goes",
    "comes", "makes", "takes", "gets", "looks", "shows", "follows", "passes", "he", "she", "they", "we", "you", "i",
    "me", "us", "him", "her", "them", "his", "their", "our", "your", "my", "who", "what", "where", "when", "how",
    "why", "can", "will", "would", "could", "should", "do", "does", "did", "has", "have", "had", "be", "been",
    "was", "were", "am", "or", "but", "if", "so", "because", "until", "before", "after", "while", "during", "like",
    "same", "other",
)  # fmt: skip
