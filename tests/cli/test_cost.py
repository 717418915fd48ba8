"""`filmgate cost`: options side by side, inputs from everywhere, and errors that say what was wrong."""

import json
import re
from html.parser import HTMLParser

import pytest
from tests.takes import make_take
from typer.testing import CliRunner

from filmgate.cli.cost import split_path
from filmgate.cli.main import program
from filmgate.cli.reckoning import named_options, numbers
from filmgate.media.manifest import manifest_text
from filmgate.spec.errors import InvalidRequest


def run(*arguments):
    return CliRunner().invoke(program, ["cost", *map(str, arguments)])


def data(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def costs(*arguments):
    return {option["name"]: option for option in data(*arguments)["options"]}


class Outside(HTMLParser):
    """Everything that a page would fetch."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]
        self.open += [tag] if tag == "script" else []


def test_the_usual_options_side_by_side():
    found = costs()
    assert len(found) == 9
    assert found["local-5b"]["marginal"] == pytest.approx(0.0202, abs=1e-4)
    assert found["local-5b"]["amortised"] == pytest.approx(0.0202 + 4000 * 0.65 / 24 / 150, abs=1e-4)
    assert found["fal-2.2"]["amortised"] == pytest.approx(0.405 / 0.8)
    assert found["rented-2.1"]["marginal"] == pytest.approx(1837.9 / 3600 * 2.69 * 1.35 / 0.67)


def test_the_table_says_what_it_rests_on():
    text = run().stdout
    assert re.search(r"^local-5b +\$0\.020 +\$0\.742 ", text, re.MULTILINE)
    assert "timed by others (Wan-Video/Wan2.2@" in text
    assert "no public measurement" in text
    assert re.search(r"^Warning: energy\.us is \d+ days old \(2024-07-31\)", text, re.MULTILINE)


def test_seconds_of_ones_own_are_called_so(tmp_path):
    found = costs("--option", "a=pod:wan2.2-ti2v-5b@h100", "--set", "a.attempt.generate=10")["a"]
    assert (found["basis"], found["seconds_per_attempt"]) == ("given", 10)
    path = tmp_path / "s.toml"
    path.write_text('[[option]]\nname = "a"\nuse = "pod:wan2.2-ti2v-5b@h100"\nattempt = { generate = 20 }\n')
    assert costs("--scenario", path)["a"]["basis"] == "given"


def test_the_same_day_gives_the_same_output():
    first, second = (run("--date", "2026-12-01").stdout for _ in range(2))
    assert first == second
    assert "energy.us is 853 days old (2024-07-31)" in first
    assert "days old" not in run("--date", "2024-07-31").stdout
    assert data("--date", "2026-12-01")["today"] == "2026-12-01"


def test_volume_length_and_size():
    assert costs("--usable", 300)["local-5b"]["amortised"] < costs()["local-5b"]["amortised"]
    fal = costs("--seconds", 10, "--option", "fal=hosted:wan2.2-i2v-a14b/fal")["fal"]
    assert fal["marginal"] == pytest.approx(161 / 16 * 0.08 / 0.8)
    small = costs(
        "--resolution", "480p", "--option", "hosted:wan2.2-i2v-a14b/fal", "--option", "pod:wan2.2-t2v-a14b@h100"
    )
    assert small["hosted"]["marginal"] == pytest.approx(81 / 16 * 0.04 / 0.8)
    assert small["pod"]["seconds_per_attempt"] == 326.9


def test_prices_and_numbers_of_ones_own():
    found = data("--price", "runpod.pod.h100=2.0", "--set", "local-5b.machine.price=3000")
    by_name = {option["name"]: option for option in found["options"]}
    assert by_name["rented-2.1"]["marginal"] == pytest.approx(1837.9 / 3600 * 2.0 * 1.35 / 0.67)
    assert by_name["local-5b"]["parts"]["depreciation"] == pytest.approx(3000 * 0.65 / 24 / 150)
    assert found["given"] == {"local-5b.machine.price": 3000}
    own = next(row for row in found["prices"] if row["id"] == "runpod.pod.h100")
    assert (own["age_days"], own["stale"], own["source"]) == (0, False, "given by you")
    assert not any("runpod.pod.h100 is" in warning for warning in found["warnings"])


def test_a_price_file(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nid = "ours"\nkind = "gpu_hour"\nbilling = "pod"\nsubject = "v100"\nprovider = "Ours"\n'
                    'value = 0.5\nregion = "here"\nas_of = 2026-11-01\nsource = "invoice"\n')  # fmt: skip
    found = costs("--prices", path, "--option", "pod:wan2.1-t2v-1.3b@v100", "--resolution", "480p")
    assert found["pod"]["prices"] == ["ours"]
    assert "ours" in run("--prices", path, "--list-prices").stdout


def test_what_nobody_is_known_to_sell_can_be_given():
    own = costs("--option", "a=local:wan2.2-ti2v-5b@rtx5090", "--set", "a.machine.price=3500", "--set",
                "a.machine.gpu_watts=575")["a"]  # fmt: skip
    assert own["parts"]["depreciation"] == pytest.approx(3500 * 0.65 / 24 / 150)
    assert own["prices"] == ["energy.us"]
    priced = costs("--option", "a=local:wan2.2-ti2v-5b@rtx5090", "--price", "hardware.rtx5090=3500", "--set",
                   "a.machine.gpu_watts=575")["a"]  # fmt: skip
    assert priced["amortised"] == pytest.approx(own["amortised"])
    assert priced["prices"] == ["hardware.rtx5090", "energy.us"]
    pods = [costs("--option", "a=pod:wan2.2-ti2v-5b@rtx3090", *flags)["a"] for flags in
            (("--set", "a.price=0.2"), ("--price", "acme.pod.rtx3090=0.2"))]  # fmt: skip
    assert pods[0]["marginal"] == pytest.approx(pods[1]["marginal"])
    assert (pods[0]["prices"], pods[1]["prices"]) == ([], ["acme.pod.rtx3090"])
    clip = costs("--option", "a=hosted:wan2.2-ti2v-5b/acme", "--price", "acme.wan2.2-ti2v-5b.720p=0.04")["a"]
    assert clip["marginal"] == pytest.approx(0.04 / 0.75)
    known = costs("--option", "pod:wan2.2-t2v-a14b@h100", "--price", "acme.pod.h100=1")["pod"]
    assert known["prices"] == ["acme.pod.h100"]
    timed = costs("--option", "a=cluster:wan2.2-ti2v-5b@h100x4", "--set", "a.attempt.generate=60")["a"]
    assert (timed["basis"], timed["seconds_per_attempt"]) == ("given", 60)


def test_a_wrong_path_is_told_with_those_beside_it():
    said = run("--set", "local-5b.machine.pric=3").stderr
    assert "Nearest valid: local-5b.machine.price" in said
    assert "local-5b.attempt" not in said
    said = run("--set", "local-5b.machin.price=3").stderr
    assert "local-5b.machine.(...)" in said
    assert len(said) < 400


@pytest.mark.parametrize("currency", ["XQZ", "eur", ""])
def test_a_currency_that_is_none_is_refused(tmp_path, currency):
    path = tmp_path / "s.toml"
    path.write_text(f'[finance]\ncurrency = "{currency}"\n[[option]]\nname = "a"\nuse = "hosted:wan2.2-ti2v-5b"\n')
    result = run("--scenario", path)
    assert result.exit_code == 2
    assert "finance.currency" in result.stderr
    assert "ISO 4217" in result.stderr


def test_exchange_rates():
    assert any("no price is in CHF" in one for one in data("--exchange", "CHF=1.2")["warnings"])
    option = ("--option", "hosted:wan2.2-i2v-a14b/alibaba")
    assert run(*option).exit_code == 2
    assert costs(*option, "--exchange", "CNY=0.14")["hosted"]["marginal"] == pytest.approx(0.2 * 81 / 16 * 0.14 / 0.8)


def test_takes_become_measurements(tmp_path):
    (tmp_path / "clip.json").write_text(manifest_text(make_take()))
    found = costs("--from", tmp_path)
    assert found["measured"]["seconds_per_attempt"] == pytest.approx(1.1)
    assert "measured on 1 take (48x32x5" in found["measured"]["basis"]
    assert "no price of this machine is known" in found["measured"]["basis"]
    assert len(found) == 10
    settings = ("--set", "measured.machine.price=1000", "--set", "measured.machine.owned=0")
    own = costs("--from", tmp_path, *settings)["measured"]
    assert own["parts"]["depreciation"] == pytest.approx(1000 * 0.65 / 24 / 150)


def test_a_scenario_file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('[workload]\nusable = 500\n[[option]]\nname = "a"\nuse = "hosted:wan2.1-t2v-14b"\nprice = 0.25\n')
    found = data("--scenario", path)
    assert found["workload"]["usable"] == 500
    assert found["options"][0]["marginal"] == pytest.approx(0.25 / 0.67)
    assert found["given"] == {"workload.usable": 500, "a.price": 0.25}
    result = run("--scenario", path, "--usable", 3)
    assert result.exit_code == 2
    assert "given together with usable" in result.stderr


def test_a_report_that_works_offline(tmp_path):
    page = tmp_path / "cost.html"
    assert run("--html", page).exit_code == 0
    text = page.read_text()
    parser = Outside()
    parser.feed(text)
    assert parser.fetched == []
    assert parser.open == []
    assert text.count("<svg") == 2
    assert "hosted-5b" in text
    assert "no public measurement" in text
    assert [path.name for path in tmp_path.iterdir()] == ["cost.html"]


def test_pictures(tmp_path):
    assert run("--pictures", tmp_path / "p").exit_code == 0
    files = sorted((tmp_path / "p").iterdir())
    assert [file.name for file in files] == ["costs.png", "volume.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_prices_are_listed():
    text = run("--list-prices").stdout
    assert re.search(r"^fal\.wan2\.2-i2v-a14b\.720p +0\.08 +USD per second of video ", text, re.MULTILINE)
    rows = json.loads(run("--list-prices", "--json").stdout)
    assert {"id", "value", "unit", "region", "as_of", "source", "evidence"} <= set(rows[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--option", "local:wan2.2-ti2v-5b@rtx4091"], "Nearest valid: rtx4090"),
        (["--option", "rtx4090"], "KIND:MODEL"),
        (["--option", "a=hosted:wan2.1-t2v-14b", "--option", "a=hosted:wan2.2-t2v-a14b"], "each once"),
        (["--set", "local-5b.machine.prise=1"], "Nearest valid: local-5b.machine.price"),
        (["--set", "local-5b.machine.price"], "is not NAME=VALUE"),
        (["--set", "local-5b.machine.price=cheap"], "is not NAME=VALUE"),
        (["--set", "local-5b.machine.price=-1"], "Allowed: 0 or more"),
        (["--set", "local-5b.quality.review=0"], "above 0 to 1"),
        (["--set", "local-5b.machine.price=nan"], "not a number"),
        (["--price", "nobody=1"], "named 'nobody'"),
        (["--price", "nobody=1"], "--prices FILE"),
        (["--exchange", "XYZ=3"], "'XYZ' is no currency"),
        (["--exchange", "eur=1.1"], "Nearest valid: EUR"),
        (["--exchange", "USD=2"], "USD is what is reckoned in"),
        (["--set", "finance.currency=EUR"], "under [finance] in --scenario FILE"),
        (["--set", "workload.resolution=480p"], "--resolution"),
        (["--set", "local-5b.overflow=rented-2.1"], "in an [[option]]"),
        (["--option", "a=local:wan2.2-ti2v-5b@rtx5090"], "--set a.machine.price=VALUE, --price hardware.rtx5090=VALUE"),
        (["--option", "a=pod:wan2.2-ti2v-5b@rtx3090"], "--set a.price=VALUE, --price SELLER.pod.rtx3090=VALUE"),
        (["--option", "a=hosted:wan2.1-t2v-1.3b"], "--price SELLER.wan2.1-t2v-1.3b.720p=VALUE"),
        (["--usable", "0"], "workload.usable"),
        (["--usable", "inf"], "not a number"),
        (["--from", "/nowhere"], "not a directory"),
        (["--prices", "/nowhere.toml"], "cannot be read"),
        (["--resolution", "999p"], "resolution"),
        (["--html", "/nowhere/x.html"], "cannot be written"),
        (["--set", "local-5b.machine.most=1", "--usable", "99999"], "machines make"),
    ],
)
def test_what_is_wrong_is_said(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_errors_as_json():
    result = run("--usable", "0", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "InvalidRequest"


def test_names_of_options():
    texts = ["pod:a@h100", "x=pod:b@h100", "pod:c@h100"]
    assert named_options(texts) == {"pod": "pod:a@h100", "x": "pod:b@h100", "pod-2": "pod:c@h100"}
    with pytest.raises(InvalidRequest, match="cannot be the name"):
        named_options(["a b=pod:a@h100"])
    assert numbers([" a.b = 2e3"], "set") == {"a.b": 2000}
    assert split_path("rented-2.1.machine.price") == ("rented-2.1", "machine.price")
    assert split_path("workload.usable") == ("workload", "usable")


def test_what_cannot_be_had_is_left_out_and_said():
    found = data("--resolution", "480p")
    assert "local-5b" not in {option["name"] for option in found["options"]}
    assert any(warning.startswith("local-5b") for warning in found["warnings"])
