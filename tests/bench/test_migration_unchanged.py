"""The measurement of plain language that comes back: it counts what it is given, and sees a change."""

from migration_unchanged import measure, prompts


def test_lines_are_prompts(tmp_path):
    (tmp_path / "one.txt").write_text("A dog runs.\n\n  \nA cat sleeps.\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("一只狗跑过桥。", encoding="utf-8")
    assert prompts([tmp_path / "one.txt", tmp_path / "two.txt"]) == ["A dog runs.", "A cat sleeps.", "一只狗跑过桥。"]


def test_what_changes_is_counted_and_named():
    measured, changed = measure(["A dog runs.", "camera: pan left, speed: 2", "A cat sleeps.", "Rain falls."])
    assert changed == ["camera: pan left, speed: 2"]
    assert {item.id: item.value for item in measured} == {
        "migration.unchanged.prompts": 4,
        "migration.unchanged.share": 75.0,
    }
    assert next(item for item in measured if item.unit == "%").goal == 100
